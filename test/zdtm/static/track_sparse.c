// SPDX-License-Identifier: GPL-2.0-only
/*
 * An area of 1 TiB with a thousand pages in it, far apart, and some more in each round at places that were empty. Who
 * looks at every place of it is slow; who write-protects empty places, too, finds the new pages clean.
 */
#include "track_model.h"

const char *test_doc = "an area of 1 TiB with a thousand pages";
const char *test_author = "criu-pagescan";

#define SIZE  (1UL << 40)
#define PAGES 1000

static struct model old = { .name = "old pages", .id = 1, .pages = PAGES };
static struct model new = { .name = "new pages", .id = 2, .pages = PAGES - 1 };

/* A new page is there from the first round that wrote it. */
static unsigned int new_generation(const struct model *m, size_t page, unsigned int round)
{
	unsigned int generation = model_generation(m, page, round);

	return generation ? generation : MODEL_ZERO;
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong;

	test_init(argc, argv);
	rounds_init();
	/* Not a multiple of what a page table spans, so that the pages lie at all places in theirs. */
	old.stride = new.stride = SIZE / PAGES & ~(PAGE_SIZE - 1UL);
	old.mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (old.mem == MAP_FAILED) {
		skip("1 TiB of address space");
		return 77;
	}
	/* Where every fault may take a huge page, the thousand pages would be 2 GiB. */
	madvise(old.mem, SIZE, MADV_NOHUGEPAGE);
	new.mem = old.mem + (old.stride / 2 & ~(PAGE_SIZE - 1UL));
	model_fill(&old, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&old, round);
		model_write(&new, round);
		rounds_done();
	}

	round = rounds_last();
	wrong = model_check(&old, 0, round);
	wrong += model_check_by(&new, 0, round, new_generation);
	return model_verdict(wrong, round);
}
