// SPDX-License-Identifier: GPL-2.0-only
/*
 * mremap() between two rounds: pages that nobody wrote are at other addresses now, where the parent images hold other
 * bytes or none.
 */
#include "track.h"

const char *test_doc = "Areas that grow, shrink and move between rounds";
const char *test_author = "criu-pagescan";

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum { PAGES = 64, ROOM = 4 * PAGES };

static struct pages grow, shrink, regrow, move, there_and_back, onto, target, swapped[2], source, left_behind;

static void *place(unsigned int nr)
{
	void *mem = map_anon(nr, MAP_NORESERVE);

	munmap(mem, nr * page_size);
	return mem;
}

static void move_to(struct pages *p, void *to, int flags)
{
	if (mremap(p->mem, p->nr * page_size, p->nr * page_size, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != to)
		exit(pr_perror("mremap to %p", to));
	p->mem = to;
}

/* The expectations have room for more pages than the area has. */
static void resize(struct pages *p, unsigned int nr)
{
	void *to = mremap(p->mem, p->nr * page_size, nr * page_size, MREMAP_MAYMOVE);

	if (to == MAP_FAILED)
		exit(pr_perror("mremap from %u to %u pages", p->nr, nr));
	for (unsigned int i = p->nr; i < nr; i++)
		p->expected[i] = EXPECT_ZERO;
	p->mem = to;
	p->nr = nr;
}

static void swap(void)
{
	void *a = swapped[0].mem, *b = swapped[1].mem;

	move_to(&swapped[0], place(PAGES), 0);
	move_to(&swapped[1], a, 0);
	move_to(&swapped[0], b, 0);
}

static void leave_behind(void)
{
	void *from = source.mem;
	void *to = left_behind.mem;

	/* The memory that was left empty in the last round takes the pages of this one. */
	move_to(&source, to, MREMAP_DONTUNMAP);
	left_behind.mem = from;
	pages_expect(&left_behind, EXPECT_ZERO);
}

static void act(unsigned int round)
{
	const unsigned int first = round % PAGES;
	uint8_t *old_place = there_and_back.mem;

	if (grow.nr + 16 <= ROOM)
		resize(&grow, grow.nr + 16);
	page_write(&grow, grow.nr - 1);

	if (shrink.nr > 8)
		resize(&shrink, shrink.nr - 8);

	/* Zero where there were bytes in the last round. */
	resize(&regrow, PAGES / 2);
	resize(&regrow, PAGES);
	page_write(&regrow, PAGES / 2 + first / 2);

	move_to(&move, place(PAGES), 0);
	page_write(&move, first);

	/* Where it was before, but other pages of it are at these addresses. */
	move_to(&there_and_back, place(PAGES), 0);
	page_write(&there_and_back, first);
	move_to(&there_and_back, old_place, 0);

	/* What was there is gone, and gets new memory in the place that has become free. */
	old_place = onto.mem;
	move_to(&onto, target.mem, 0);
	target.mem = old_place;
	map_anon_at(target.mem, PAGES, 0);
	pages_expect(&target, EXPECT_ZERO);
	page_write(&target, first);

	swap();
	page_write(&swapped[round % 2], first);

	leave_behind();
	page_write(&source, first);
	page_write(&left_behind, first);
}

int main(int argc, char **argv)
{
	static const struct {
		struct pages *pages;
		const char *name;
	} kinds[] = {
		{ &grow, "grown" },
		{ &shrink, "shrunk" },
		{ &regrow, "shrunk and grown" },
		{ &move, "moved" },
		{ &there_and_back, "moved there and back" },
		{ &onto, "moved onto another" },
		{ &target, "moved over" },
		{ &swapped[0], "swapped" },
		{ &swapped[1], "swapped with it" },
		{ &source, "moved with MREMAP_DONTUNMAP" },
		{ &left_behind, "left behind by MREMAP_DONTUNMAP" },
	};

	test_init(argc, argv);
	model_init();
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pages *p = kinds[k].pages;

		*p = pages_model(map_anon(PAGES, 0), ROOM);
		p->nr = PAGES;
		pages_write(p);
	}

	test_daemon();
	between_rounds(act);

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		if (pages_verify(kinds[k].pages, kinds[k].name))
			return 1;
	pass();
	return 0;
}
