// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anonymous memory in 4 KiB pages: pages written in every round, once, for the first time late, only read (the zero
 * page) and never touched.
 */
#include "track.h"

const char *test_doc = "Anonymous memory is taken as it is in each round";
const char *test_author = "criu-pagescan";

enum { PAGES = 4096, REWRITTEN = 100 };

static struct pages once, random_pages, always, late, zero;
static uint32_t seed = 1;

static void act(unsigned int round)
{
	pages_write(&always);
	pages_write_random(&random_pages, REWRITTEN, &seed);
	page_write(&late, round % late.nr);
	/* From the zero page to a page of its own. */
	page_write(&zero, round % zero.nr);
}

int main(int argc, char **argv)
{
	struct pages all;

	test_init(argc, argv);
	model_init();
	all = pages_map(PAGES);
	madvise(all.mem, PAGES * page_size, MADV_NOHUGEPAGE);
	once = pages_part(&all, 0, 1024);
	random_pages = pages_part(&all, 1024, 2048);
	always = pages_part(&all, 3072, 32);
	late = pages_part(&all, 3328, 64);
	zero = pages_part(&all, 3584, 64);
	pages_write(&once);
	pages_write(&random_pages);
	pages_write(&always);
	for (unsigned int i = 0; i < zero.nr; i++)
		(void)*(volatile uint8_t *)(zero.mem + i * page_size);

	test_daemon();
	between_rounds(act);

	if (pages_verify(&all, "anonymous memory"))
		return 1;
	pass();
	return 0;
}
