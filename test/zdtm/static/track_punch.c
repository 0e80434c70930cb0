// SPDX-License-Identifier: GPL-2.0-only
/*
 * A private mapping of a memfd in which holes are punched and written again between rounds: the task's own pages stay,
 * all others are zero at once, or new bytes.
 */
#include <linux/falloc.h>

#include "track.h"

const char *test_doc = "Holes punched under a private mapping of memory";
const char *test_author = "criu-pagescan";

enum { PAGES = 256, STEP = 32 };

static struct pages mem;
static int fd;

/* The task's own pages from the start are every fourth. */
static bool is_own(unsigned int i)
{
	return i % 4 == 0;
}

static void write_file(unsigned int i)
{
	cleanup_free void *page = malloc(page_size);

	page_fill(page, mem.id + i, page_renew(&mem, i));
	if (pwrite(fd, page, page_size, i * page_size) != (ssize_t)page_size)
		exit(pr_perror("write into the memfd"));
}

static void act(unsigned int round)
{
	const unsigned int first = round * STEP % PAGES;

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first * page_size, STEP * page_size))
		exit(pr_perror("punch a hole"));
	for (unsigned int i = first; i < first + STEP; i++) {
		if (!is_own(i))
			mem.expected[i] = EXPECT_ZERO;
		if (i % 4 == 1)
			write_file(i);
		/* Dropped, an own page becomes a hole like the others. */
		if (i % 8 == 0) {
			if (madvise(mem.mem + i * page_size, page_size, MADV_DONTNEED))
				exit(pr_perror("MADV_DONTNEED"));
			mem.expected[i] = EXPECT_ZERO;
		}
	}
	/* Own pages with new bytes, next to the holes and in them. */
	for (unsigned int i = first; i < PAGES; i += 32)
		page_write(&mem, i + 4);
}

int main(int argc, char **argv)
{
	void *area;

	test_init(argc, argv);
	model_init();
	fd = memfd_create("track_punch", 0);
	if (fd < 0 || ftruncate(fd, PAGES * page_size))
		return pr_perror("memfd");
	area = mmap(NULL, PAGES * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (area == MAP_FAILED)
		return pr_perror("mmap");
	mem = pages_model(area, PAGES);
	for (unsigned int i = 0; i < PAGES; i++) {
		write_file(i);
		if (is_own(i))
			page_write(&mem, i);
		else if (i % 2)
			(void)*(volatile uint8_t *)(mem.mem + i * page_size);
	}

	test_daemon();
	between_rounds(act);

	if (pages_verify(&mem, "memfd with holes"))
		return 1;
	pass();
	return 0;
}
