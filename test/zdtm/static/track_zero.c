// SPDX-License-Identifier: GPL-2.0-only
/*
 * Zeros: memory that was only read, where the kernel's zero page lies (a small one, or a huge one), and is written
 * later; pages that were dumped with bytes and then become zero, once because zeros are stored to them, and once
 * because they are dropped and read, which puts the zero page there. CRIU does not dump the zero page: the bytes in
 * the parent images must not come back.
 */
#include "track_huge.h"
#include "track_model.h"

const char *test_doc = "zero pages, before and after they hold something else";
const char *test_author = "criu-pagescan";

static struct model small = { .name = "zero page", .id = 1, .pages = 1024 };
static struct model huge = { .name = "huge zero page", .id = 2, .pages = 1024 };
static struct model cleared = { .name = "zeros stored", .id = 3, .pages = 1024 };
static struct model dropped = { .name = "dropped and read", .id = 4, .pages = 1024 };

static void read_all(const struct model *m)
{
	for (size_t page = 0; page < m->pages; page++)
		(void)*(volatile unsigned char *)model_addr(m, page);
}

static void map_huge(void)
{
	const size_t size = huge_page_size();
	unsigned char *mem;

	huge.pages = 2 * size / PAGE_SIZE;
	mem = mmap(NULL, 3 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		exit(pr_perror("Can't map memory for the huge zero page"));
	huge.mem = (unsigned char *)(((uintptr_t)mem + size - 1) & -size);
	if (madvise(huge.mem, 2 * size, MADV_HUGEPAGE))
		test_msg("No transparent huge pages: a small zero page must do\n");
}

static void clear(const struct model *m, unsigned int round, bool drop)
{
	for (size_t page = 0; page < m->pages; page++) {
		if (!model_hit(m, page, round))
			continue;
		if (!drop)
			model_put(m, page, MODEL_ZERO);
		else if (madvise(model_addr(m, page), PAGE_SIZE, MADV_DONTNEED))
			exit(pr_perror("Can't drop a page"));
	}
	read_all(m);
}

static unsigned int zero_at_first(const struct model *m, size_t page, unsigned int round)
{
	unsigned int generation = model_generation(m, page, round);

	return generation ? generation : MODEL_ZERO;
}

static unsigned int zero_in_odd_rounds(const struct model *m, size_t page, unsigned int round)
{
	unsigned int generation = model_generation(m, page, round);

	return generation % 2 ? MODEL_ZERO : generation;
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&small);
	model_map_private(&cleared);
	model_map_private(&dropped);
	map_huge();
	read_all(&small);
	read_all(&huge);
	model_fill(&cleared, 0);
	model_fill(&dropped, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&small, round);
		model_write(&huge, round);
		if (round % 2) {
			clear(&cleared, round, false);
			clear(&dropped, round, true);
		} else {
			model_write(&cleared, round);
			model_write(&dropped, round);
		}
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check_by(&small, 0, round, zero_at_first);
	wrong += model_check_by(&huge, 0, round, zero_at_first);
	wrong += model_check_by(&cleared, 0, round, zero_in_odd_rounds);
	wrong += model_check_by(&dropped, 0, round, zero_in_odd_rounds);
	return model_verdict(wrong, round);
}
