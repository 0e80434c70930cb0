// SPDX-License-Identifier: GPL-2.0-only
/*
 * The task's own pages in a private file mapping, given back with MADV_DONTNEED: the parent images have them, but now
 * the file's bytes are there again.
 */
#include "track.h"

const char *test_doc = "Written pages of a private file mapping that are dropped between rounds";
const char *test_author = "criu-pagescan";

enum { DROPPED, READ, WRITTEN, WRITTEN_NEXT, READ_WRITTEN_NEXT, KINDS };
static const char *const names[KINDS] = {
	"dropped",
	"dropped, read",
	"dropped, written",
	"dropped, written in the next round",
	"dropped, read, written in the next round",
};
enum { STEP = 16, STEPS = 8 };

/* What the file holds is the first generation of each page. */
static struct pages kinds[KINDS];
static uint32_t in_file[KINDS][STEP * STEPS];

static void drop(int kind, unsigned int first)
{
	struct pages part = pages_part(&kinds[kind], first, STEP);

	if (madvise(part.mem, STEP * page_size, MADV_DONTNEED))
		exit(pr_perror("MADV_DONTNEED"));
	memcpy(part.expected, in_file[kind] + first, STEP * sizeof(*part.expected));
}

static void read_pages(int kind, unsigned int first)
{
	for (unsigned int i = first; i < first + STEP; i++)
		(void)*(volatile uint8_t *)(kinds[kind].mem + i * page_size);
}

static void write_pages(int kind, unsigned int first)
{
	struct pages part = pages_part(&kinds[kind], first, STEP);

	pages_write(&part);
}

static void act(unsigned int round)
{
	const unsigned int now = round % STEPS * STEP, last = (round + STEPS - 1) % STEPS * STEP;

	for (int kind = 0; kind < KINDS; kind++)
		drop(kind, now);
	read_pages(READ, now);
	write_pages(WRITTEN, now);
	read_pages(READ_WRITTEN_NEXT, now);
	if (!round)
		return;
	write_pages(WRITTEN_NEXT, last);
	write_pages(READ_WRITTEN_NEXT, last);
}

int main(int argc, char **argv)
{
	char name[256];
	uint8_t *mem;
	int fd;

	test_init(argc, argv);
	model_init();
	ssprintf(name, "%s.file", program_invocation_short_name);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, KINDS * STEP * STEPS * page_size))
		return pr_perror("%s", name);
	mem = mmap(NULL, KINDS * STEP * STEPS * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int kind = 0; mem != MAP_FAILED && kind < KINDS; kind++) {
		kinds[kind] = pages_model(mem + kind * STEP * STEPS * page_size, STEP * STEPS);
		pages_write(&kinds[kind]);
		memcpy(in_file[kind], kinds[kind].expected, sizeof(in_file[kind]));
	}
	/* The same place, now private. */
	if (mem == MAP_FAILED ||
	    mmap(mem, KINDS * STEP * STEPS * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) != mem)
		return pr_perror("map %s", name);
	for (int kind = 0; kind < KINDS; kind++)
		pages_write(&kinds[kind]);

	test_daemon();
	between_rounds(act);

	for (int kind = 0; kind < KINDS; kind++)
		if (pages_verify(&kinds[kind], names[kind]))
			return 1;
	pass();
	return 0;
}
