// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is unmapped and other memory mapped at the same place between two rounds: the parent images hold pages
 * for these addresses, and none of them is right any more.
 */
#include "track.h"

const char *test_doc = "Another mapping in the place of a tracked one";
const char *test_author = "criu-pagescan";

enum { REWRITTEN, SPARSE, ZERO, ZERO_READ, OVER, LATER, ANON_TO_FILE, FILE_TO_ANON, ANON_TO_SHARED, KINDS };
static const char *const names[KINDS] = {
	"mapped again, rewritten",
	"mapped again, partly written",
	"mapped again, untouched",
	"mapped again, only read",
	"mapped over",
	"mapped again a round later",
	"a file in place of memory",
	"memory in place of a file",
	"shared memory in place of private",
};
enum { PAGES = 64 };

static struct pages kinds[KINDS];
static uint32_t file_generation[PAGES];
static int fd;

static void unmap(struct pages *p)
{
	if (munmap(p->mem, p->nr * page_size))
		exit(pr_perror("munmap"));
	pages_expect(p, EXPECT_FAULT);
}

static void map(struct pages *p, int flags)
{
	const int map_fd = flags & MAP_ANONYMOUS ? -1 : fd;

	if (mmap(p->mem, p->nr * page_size, PROT_READ | PROT_WRITE, MAP_FIXED | flags, map_fd, 0) != p->mem)
		exit(pr_perror("mmap %#x", flags));
	pages_expect(p, EXPECT_ZERO);
}

static void remap(struct pages *p)
{
	unmap(p);
	map(p, MAP_PRIVATE | MAP_ANONYMOUS);
}

/* The file holds pages of the area ANON_TO_FILE. */
static void map_file(struct pages *p)
{
	map(p, MAP_PRIVATE);
	memcpy(p->expected, file_generation, sizeof(file_generation));
}

static void act(unsigned int round)
{
	const bool odd = round % 2;

	remap(&kinds[REWRITTEN]);
	pages_write(&kinds[REWRITTEN]);

	remap(&kinds[SPARSE]);
	for (unsigned int i = round % 8; i < PAGES; i += 8)
		page_write(&kinds[SPARSE], i);

	/* Written and gone again, between the two rounds that see it as zero. */
	pages_write(&kinds[ZERO]);
	remap(&kinds[ZERO]);

	remap(&kinds[ZERO_READ]);
	for (unsigned int i = 0; i < PAGES; i++)
		(void)*(volatile uint8_t *)(kinds[ZERO_READ].mem + i * page_size);

	map(&kinds[OVER], MAP_PRIVATE | MAP_ANONYMOUS);
	page_write(&kinds[OVER], round % PAGES);

	if (odd)
		map(&kinds[LATER], MAP_PRIVATE | MAP_ANONYMOUS);
	else
		unmap(&kinds[LATER]);

	if (odd) {
		remap(&kinds[ANON_TO_FILE]);
		pages_write(&kinds[ANON_TO_FILE]);
	} else {
		map_file(&kinds[ANON_TO_FILE]);
		page_write(&kinds[ANON_TO_FILE], round % PAGES);
	}

	remap(&kinds[FILE_TO_ANON]);
	page_write(&kinds[FILE_TO_ANON], round % PAGES);

	map(&kinds[ANON_TO_SHARED], MAP_ANONYMOUS | (odd ? MAP_PRIVATE : MAP_SHARED));
	page_write(&kinds[ANON_TO_SHARED], round % PAGES);
}

static void make_file(struct pages *p)
{
	char name[256];

	ssprintf(name, "%s.file", program_invocation_short_name);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	pages_write(p);
	if (fd < 0 || write(fd, p->mem, p->nr * page_size) != (ssize_t)(p->nr * page_size))
		exit(pr_perror("%s", name));
	memcpy(file_generation, p->expected, sizeof(file_generation));
}

int main(int argc, char **argv)
{
	struct pages *file = &kinds[FILE_TO_ANON];
	uint8_t *mem;

	test_init(argc, argv);
	model_init();
	/* Neighbours, so that each change is one in the midst of a tracked area. */
	mem = map_anon(KINDS * PAGES, 0);
	for (int kind = 0; kind < KINDS; kind++) {
		kinds[kind] = pages_model(mem + kind * PAGES * page_size, PAGES);
		pages_write(&kinds[kind]);
	}
	make_file(&kinds[ANON_TO_FILE]);
	map(file, MAP_PRIVATE);
	pages_write(file);

	test_daemon();
	between_rounds(act);

	for (int kind = 0; kind < KINDS; kind++)
		if (pages_verify(&kinds[kind], names[kind]))
			return 1;
	pass();
	return 0;
}
