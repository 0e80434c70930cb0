// SPDX-License-Identifier: GPL-2.0-only
/* The brk heap grows and shrinks between rounds; what is given back and taken again is zero. */
#include "track.h"

const char *test_doc = "A heap that grows and shrinks between rounds";
const char *test_author = "criu-pagescan";

enum { MAX_PAGES = 2048, START_PAGES = 512 };

static struct pages heap;

/* Directly, because sbrk() would share its idea of the end with malloc(). */
static void resize(unsigned int nr)
{
	if (brk(heap.mem + nr * page_size))
		exit(pr_perror("brk"));
	for (unsigned int i = heap.nr; i < nr; i++)
		heap.expected[i] = EXPECT_ZERO;
	heap.nr = nr;
}

static void write_tail(unsigned int nr)
{
	struct pages tail = pages_part(&heap, heap.nr - nr, nr);

	pages_write(&tail);
}

static void act(unsigned int round)
{
	switch (round % 4) {
	case 0: /* grown, half of it written */
		resize(heap.nr + 128);
		write_tail(64);
		break;
	case 1: /* shrunk, and grown again: zeros where there were bytes */
		resize(heap.nr - 96);
		resize(heap.nr + 96);
		write_tail(16);
		break;
	case 2: /* shrunk below what the last round held */
		resize(heap.nr - 192);
		break;
	case 3: /* grown over the same addresses, with other bytes */
		resize(heap.nr + 192);
		write_tail(192);
		break;
	}
	page_write(&heap, round);
}

int main(int argc, char **argv)
{
	uintptr_t end;

	test_init(argc, argv);
	model_init();
	/* malloc() is to use its own mappings from here on. */
	end = (uintptr_t)sbrk(0);
	heap = pages_model((void *)(end + -end % page_size), MAX_PAGES);
	heap.nr = 0;
	resize(START_PAGES);
	pages_write(&heap);

	test_daemon();
	between_rounds(act);

	if (pages_verify(&heap, "heap"))
		return 1;
	pass();
	return 0;
}
