// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages that do not stay whole: parts of them are dropped, unmapped, protected, and collapsed into a huge page
 * again between two rounds.
 */
#include "track.h"
#include "track_huge.h"

const char *test_doc = "Huge pages that are split and collapsed between rounds";
const char *test_author = "criu-pagescan";

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { DROP, UNMAP, PROTECT, COLLAPSE, COLLAPSE_WRITTEN, ZERO, KINDS };
static const char *const names[KINDS] = {
	"dropped", "unmapped", "protected", "collapsed", "collapsed and written", "the huge zero page",
};

static struct pages kinds[KINDS];
static size_t huge;

static void act(unsigned int round)
{
	/* Not all of the huge page, and another part in each round. */
	const unsigned int first = 64 + round % 8 * 32, nr = 16;
	struct pages part[KINDS];

	for (int k = 0; k < KINDS; k++)
		part[k] = pages_part(&kinds[k], first, nr);

	if (madvise(part[DROP].mem, nr * page_size, MADV_DONTNEED))
		exit(pr_perror("MADV_DONTNEED"));
	pages_expect(&part[DROP], EXPECT_ZERO);
	page_write(&part[DROP], 3);

	if (munmap(part[UNMAP].mem, nr * page_size))
		exit(pr_perror("munmap"));
	pages_expect(&part[UNMAP], EXPECT_FAULT);
	page_write(&kinds[UNMAP], round);

	page_write(&part[PROTECT], 0);
	if (mprotect(part[PROTECT].mem, nr * page_size, PROT_READ))
		exit(pr_perror("mprotect"));

	/* The kernel may refuse to collapse what is tracked. What counts is that no byte is lost. */
	page_write(&part[COLLAPSE], 0);
	madvise(kinds[COLLAPSE].mem, huge, MADV_COLLAPSE);
	madvise(kinds[COLLAPSE_WRITTEN].mem, huge, MADV_COLLAPSE);
	page_write(&part[COLLAPSE_WRITTEN], 0);

	page_write(&part[ZERO], 0);
}

int main(int argc, char **argv)
{
	uint8_t *area;

	test_init(argc, argv);
	model_init();
	huge = huge_page_size();
	area = map_anon((KINDS + 1) * huge / page_size, 0);
	area += -(uintptr_t)area % huge;
	madvise(area, KINDS * huge, MADV_HUGEPAGE);
	for (int k = 0; k < KINDS; k++) {
		kinds[k] = pages_model(area + k * huge, huge / page_size);
		if (k != ZERO)
			pages_write(&kinds[k]);
	}
	(void)*(volatile uint8_t *)kinds[ZERO].mem;

	test_daemon();
	between_rounds(act);

	for (int k = 0; k < KINDS; k++)
		if (pages_verify(&kinds[k], names[k]))
			return 1;
	pass();
	return 0;
}
