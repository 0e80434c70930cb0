// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guard markers come and go between rounds. Installing one drops the page, whatever the parent images hold; a page
 * whose marker was removed is zero.
 */
#include "track.h"

const char *test_doc = "Guard regions that are installed and removed between rounds";
const char *test_author = "criu-pagescan";

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

enum { PAGES = 256, STEP = 16 };

static struct pages mem;

static void guard(unsigned int first, unsigned int nr, bool install)
{
	struct pages part = pages_part(&mem, first, nr);

	if (madvise(part.mem, nr * page_size, install ? MADV_GUARD_INSTALL : MADV_GUARD_REMOVE))
		exit(pr_perror("guard pages"));
	for (unsigned int i = 0; i < nr; i++)
		if (install || part.expected[i] == EXPECT_FAULT)
			part.expected[i] = install ? EXPECT_FAULT : EXPECT_ZERO;
}

static void act(unsigned int round)
{
	const unsigned int now = round % 4 * 4 * STEP, last = (round + 3) % 4 * 4 * STEP;

	guard(now, STEP, true);

	/* Installed and removed within one round. */
	guard(now + STEP, STEP, true);
	guard(now + STEP, STEP, false);

	/* What the last round saw as guarded is zero now, and half of it written. */
	guard(last, STEP, false);
	for (unsigned int i = last; i < last + STEP / 2; i++)
		if (round)
			page_write(&mem, i);

	page_write(&mem, now + 3 * STEP);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	model_init();
	mem = pages_map(PAGES);
	pages_write(&mem);
	if (madvise(mem.mem, page_size, MADV_GUARD_INSTALL)) {
		skip("the kernel has no guard regions");
		return 77;
	}
	mem.expected[0] = EXPECT_FAULT;
	guard(2 * STEP, STEP, true);

	test_daemon();
	between_rounds(act);

	if (pages_verify(&mem, "memory with guards"))
		return 1;
	pass();
	return 0;
}
