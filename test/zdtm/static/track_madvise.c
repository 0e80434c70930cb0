// SPDX-License-Identifier: GPL-2.0-only
/*
 * Advice that drops, may drop, populates or moves pages between rounds. Dropped pages are zero, though the parent
 * images hold bytes for them; pages that MADV_FREE left to the kernel are zero or as they were, never older.
 */
#include "track.h"

const char *test_doc = "madvise() between rounds";
const char *test_author = "criu-pagescan";

#ifndef MADV_COLD
#define MADV_COLD    20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGES = 256, STEP = 32 };
enum { NOTHING, READ, WRITE };

static const struct {
	const char *name;
	int advice, second_advice;
	bool dropped, may_be_dropped;
	int then;
} kinds[] = {
	{ "DONTNEED", MADV_DONTNEED, MADV_NORMAL, .dropped = true },
	{ "DONTNEED, read", MADV_DONTNEED, MADV_NORMAL, .dropped = true, .then = READ },
	{ "DONTNEED, written", MADV_DONTNEED, MADV_NORMAL, .dropped = true, .then = WRITE },
	{ "DONTNEED, POPULATE_READ", MADV_DONTNEED, MADV_POPULATE_READ, .dropped = true },
	{ "DONTNEED, POPULATE_WRITE", MADV_DONTNEED, MADV_POPULATE_WRITE, .dropped = true },
	{ "FREE", MADV_FREE, MADV_NORMAL, .may_be_dropped = true },
	{ "FREE, read", MADV_FREE, MADV_NORMAL, .may_be_dropped = true, .then = READ },
	{ "FREE, written", MADV_FREE, MADV_NORMAL, .may_be_dropped = true, .then = WRITE },
	{ "FREE, PAGEOUT", MADV_FREE, MADV_PAGEOUT, .may_be_dropped = true },
	{ "FREE, PAGEOUT, read", MADV_FREE, MADV_PAGEOUT, .may_be_dropped = true, .then = READ },
	{ "FREE, PAGEOUT, written", MADV_FREE, MADV_PAGEOUT, .may_be_dropped = true, .then = WRITE },
	{ "COLD", MADV_COLD, MADV_NORMAL, .then = NOTHING },
	{ "COLD, written", MADV_COLD, MADV_NORMAL, .then = WRITE },
	{ "PAGEOUT", MADV_PAGEOUT, MADV_NORMAL, .then = NOTHING },
	{ "PAGEOUT, written", MADV_PAGEOUT, MADV_NORMAL, .then = WRITE },
	{ "POPULATE_WRITE", MADV_POPULATE_WRITE, MADV_NORMAL, .then = NOTHING },
	{ "POPULATE_WRITE, written", MADV_POPULATE_WRITE, MADV_NORMAL, .then = WRITE },
	{ "MERGEABLE", MADV_MERGEABLE, MADV_NORMAL, .then = WRITE },
};

static struct pages areas[ARRAY_SIZE(kinds)];

static void advise(struct pages *p, int advice)
{
	/* A kernel without this advice leaves the test with what the others do. */
	if (madvise(p->mem, p->nr * page_size, advice) && errno != EINVAL)
		exit(pr_perror("madvise %d", advice));
}

static void act(unsigned int round)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pages part = pages_part(&areas[k], round * STEP % PAGES, STEP);

		advise(&part, kinds[k].advice);
		advise(&part, kinds[k].second_advice);
		if (kinds[k].dropped)
			pages_expect(&part, EXPECT_ZERO);
		if (kinds[k].may_be_dropped)
			pages_expect_or_zero(&part);
		/* Every other page, so that its neighbour shows what the advice alone did. */
		for (unsigned int i = 0; i < STEP; i += 2) {
			/* What is seen to be dropped does not come back. A written page's first word is not zero. */
			if (kinds[k].then == READ && !*(volatile uint64_t *)(part.mem + i * page_size))
				part.expected[i] = EXPECT_ZERO;
			if (kinds[k].then == WRITE)
				page_write(&part, i);
		}
	}
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	model_init();
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		areas[k] = pages_map(PAGES);
		pages_write(&areas[k]);
	}

	test_daemon();
	between_rounds(act);

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		if (pages_verify(&areas[k], kinds[k].name))
			return 1;
	pass();
	return 0;
}
