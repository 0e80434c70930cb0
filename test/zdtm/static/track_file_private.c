// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private mappings of files, parts of which were written: those pages are the task's own, the others show what the file
 * holds now. The file changes between rounds, under both; and it is truncated, which takes the task's own pages too.
 */
#include "track.h"

const char *test_doc = "Private file mappings, written in parts, over a file that changes and is truncated";
const char *test_author = "criu-pagescan";

enum { PAGES = 256 };

struct mapping {
	int fd;
	struct pages pages;
};

static struct mapping changed, cut;
static uint32_t seed = 5;

/* New bytes into the file. Untouched pages show them, and so does the model; what the task wrote stays what it is. */
static void write_file(struct mapping *m, unsigned int i, bool untouched)
{
	cleanup_free void *page = malloc(page_size);
	struct pages elsewhere = pages_model(NULL, 1);
	uint32_t generation;

	if (untouched) {
		generation = page_renew(&m->pages, i);
		page_fill(page, m->pages.id + i, generation);
	} else {
		page_fill(page, elsewhere.id, page_renew(&elsewhere, 0));
	}
	if (pwrite(m->fd, page, page_size, (off_t)i * page_size) != (ssize_t)page_size)
		exit(pr_perror("write into the file"));
}

static void resize(struct mapping *m, unsigned int nr, unsigned int old_nr)
{
	struct pages tail;

	if (ftruncate(m->fd, (off_t)nr * page_size))
		exit(pr_perror("ftruncate"));
	if (nr < old_nr) {
		tail = pages_part(&m->pages, nr, old_nr - nr);
		pages_expect(&tail, EXPECT_FAULT);
	} else {
		tail = pages_part(&m->pages, old_nr, nr - old_nr);
		pages_expect(&tail, EXPECT_ZERO);
	}
}

static void open_mapping(struct mapping *m, const char *suffix)
{
	char name[256];
	void *mem;

	ssprintf(name, "%s.%s", program_invocation_short_name, suffix);
	m->fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	mem = mmap(NULL, PAGES * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, m->fd, 0);
	if (m->fd < 0 || mem == MAP_FAILED)
		exit(pr_perror("%s", name));
	m->pages = pages_model(mem, PAGES);
	resize(m, PAGES, 0);
	for (unsigned int i = 0; i < PAGES; i++)
		write_file(m, i, true);
}

/* Own pages are the odd ones of the second half. */
static bool is_own(unsigned int i)
{
	return i >= PAGES / 2 && i % 2;
}

static void change(unsigned int round)
{
	for (unsigned int i = 0; i < PAGES; i++)
		if (i % 4 == round % 4)
			write_file(&changed, i, !is_own(i));
	for (int i = 0; i < 16; i++)
		page_write(&changed.pages, PAGES / 2 + 1 + 2 * pages_random(PAGES / 4, &seed));
}

static void act(unsigned int round)
{
	change(round);
	switch (round % 4) {
	case 0: /* the end of the file moves to the middle of the task's own pages */
		resize(&cut, 64, PAGES);
		break;
	case 1: /* and back: where the task's pages were there is the file again */
		resize(&cut, PAGES, 64);
		for (unsigned int i = 64; i < 128; i++)
			write_file(&cut, i, true);
		break;
	case 2:
		for (unsigned int i = 96; i < 160; i++)
			page_write(&cut.pages, i);
		break;
	case 3: /* truncated and extended within one round */
		resize(&cut, 80, PAGES);
		resize(&cut, PAGES, 80);
		page_write(&cut.pages, 100);
		break;
	}
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	model_init();
	open_mapping(&changed, "changed");
	open_mapping(&cut, "cut");
	for (unsigned int i = 0; i < PAGES; i++) {
		if (is_own(i))
			page_write(&changed.pages, i);
		if (i % 3)
			page_write(&cut.pages, i);
		/* Half of the rest is in the page table, as a page of the file. */
		if (i % 2)
			(void)*(volatile uint8_t *)(changed.pages.mem + i * page_size);
	}

	test_daemon();
	between_rounds(act);

	if (pages_verify(&changed.pages, "a file that changes") || pages_verify(&cut.pages, "a file that is truncated"))
		return 1;
	pass();
	return 0;
}
