// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walks by the ioctl against reads of pagemap, over address spaces built at random; complete walks beyond one vector;
 * and what protecting does and does not touch.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scan/uapi.h"
#include "unit.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define PAGES 2048UL

static struct pagescan_kernel kernel;
static uint64_t page;
static int pagemap, uffd, file;

/* A piece of the address space of one kind; what fails on this machine just leaves it as it is. */
static void build_piece(char *at, size_t size, uint64_t *seed)
{
	const uint64_t kind = next_random(seed) % 10;
	const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	mmap(at, size, PROT_READ | PROT_WRITE, kind < 7 ? anonymous : MAP_FIXED | (kind < 9 ? MAP_PRIVATE : MAP_SHARED),
	     kind < 7 ? -1 : file, 0);
	madvise(at, size, kind == 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t i = 0; i < size / page; i++) {
		volatile char *byte = at + i * page;

		switch (kind == 1 ? 0 : next_random(seed) % 4) {
		case 0:
			*byte = 1;
			break;
		case 1:
			if (kind)	     /* pagemap.c cannot tell the huge zero page */
				(void)*byte; /* the zero page, or the file's */
			break;
		}
	}
	if (kind == 2 && kernel.guard)
		madvise(at + size / 2, page, MADV_GUARD_INSTALL);
	if (kind == 3)
		madvise(at, size / 2, MADV_PAGEOUT);
	if (kind == 4)
		mprotect(at, size, PROT_NONE);
	if (kind == 5)
		munmap(at, size / 3 / page * page);
	if (kind == 6) {
		struct uffdio_register reg = { { (uintptr_t)at, size }, UFFDIO_REGISTER_MODE_WP, 0 };
		const struct pagescan_query there = { .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };

		if (!ioctl(uffd, UFFDIO_REGISTER, &reg))
			pagescan_protect(pagemap, (uintptr_t)at, (uintptr_t)at + size / 2 / page * page, &there, NULL);
	}
}

static char *build(uint64_t *seed)
{
	char *space = mmap(NULL, PAGES * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t at = 0; at < PAGES;) {
		size_t pages = 1 + next_random(seed) % 600;

		pages = pages < PAGES - at ? pages : PAGES - at;
		build_piece(space + at * page, pages * page, seed);
		at += pages;
	}
	return space;
}

static uint64_t some(uint64_t known, uint64_t *seed)
{
	return next_random(seed) & next_random(seed) & known;
}

static bool alike(uint64_t from, uint64_t to, const struct pagescan_query *query)
{
	struct pagescan_regions got = { 0 }, want = { 0 };
	bool same;

	assert_int_equal(pagescan_walk(pagemap, from, to, query, &got), 0);
	assert_int_equal(pagescan_walk_pagemap(pagemap, from, to, query, &want), 0);
	same = got.nr == want.nr && (!got.nr || !memcmp(got.v, want.v, got.nr * sizeof(*got.v)));
	pagescan_regions_fini(&got);
	pagescan_regions_fini(&want);
	return same;
}

/*
 * Only populated entries are compared: of empty ones the ioctl tells more or less, by what is asked. The kernel may
 * move or swap a page between the two answers, but not three times in a row.
 */
static void both_ways_answer_alike(void **state)
{
	const uint64_t known = PAGESCAN_WRITTEN | PAGESCAN_FILE | PAGESCAN_PRESENT | PAGESCAN_SWAPPED |
			       PAGESCAN_PFNZERO | (kernel.guard ? PAGESCAN_GUARD : 0);

	(void)state;
	for (uint64_t round = 0; round < 60; round++) {
		uint64_t seed = round;
		char *space = build(&seed);

		for (int i = 0; i < 30; i++) {
			uint64_t from = (uintptr_t)space + next_random(&seed) % (PAGES / 4) * page;
			uint64_t to = (uintptr_t)space + (PAGES - next_random(&seed) % (PAGES / 4)) * page;
			struct pagescan_query query = { .required = some(known, &seed),
							.excluded = some(known, &seed),
							.returned = next_random(&seed) & known,
							.anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };

			if (!alike(from, to, &query) && !alike(from, to, &query) && !alike(from, to, &query))
				fail_msg("seed %lu, query %d: %lx %lx %lx -> %lx", round, i, query.required,
					 query.anyof, query.excluded, query.returned);
		}
		munmap(space, PAGES * page);
	}
}

/* Every second page of 64 MiB: many times a vector, and many page tables. Some may be swapped out by then. */
static void walks_go_on_past_a_full_vector(void **state)
{
	const struct pagescan_query query = { .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	const size_t size = 16384 * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pagescan_regions found = { 0 };

	(void)state;
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += 2 * page)
		memory[at] = 1;
	assert_int_equal(pagescan_walk(pagemap, (uintptr_t)memory, (uintptr_t)memory + size, &query, &found), 0);
	assert_int_equal(found.nr, 8192);
	for (size_t i = 0; i < found.nr; i++) {
		assert_int_equal(found.v[i].start, (uintptr_t)memory + i * 2 * page);
		assert_int_equal(found.v[i].end, found.v[i].start + page);
	}
	pagescan_regions_fini(&found);
	munmap(memory, size);
}

/* Regions that touch: the next vector must begin at the very page behind the last region. */
static void touching_regions_are_told_apart_past_a_full_vector(void **state)
{
	const struct pagescan_query there = { .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	const struct pagescan_query query = { .anyof = there.anyof, .returned = PAGESCAN_WRITTEN };
	const size_t size = 5000 * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { { (uintptr_t)memory, size }, UFFDIO_REGISTER_MODE_WP, 0 };
	struct pagescan_regions found = { 0 };

	(void)state;
	madvise(memory, size, MADV_NOHUGEPAGE);
	memset(memory, 1, size);
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(pagescan_protect(pagemap, (uintptr_t)memory, (uintptr_t)memory + size, &there, NULL), 0);
	for (size_t at = 0; at < size; at += 2 * page)
		memory[at] = 2;
	assert_int_equal(pagescan_walk(pagemap, (uintptr_t)memory, (uintptr_t)memory + size, &query, &found), 0);
	assert_int_equal(found.nr, 5000);
	assert_int_equal(pagescan_regions_bytes(&found), size);
	for (size_t i = 0; i < found.nr; i++)
		assert_int_equal(found.v[i].categories, i % 2 ? 0 : PAGESCAN_WRITTEN);
	pagescan_regions_fini(&found);
	munmap(memory, size);
}

static void sparse_memory_is_walked_to_its_end(void **state)
{
	const struct pagescan_query query = { .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	const size_t size = 1UL << 40, step = (1UL << 40) / 37 / page * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct pagescan_regions found = { 0 };

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += step)
		memory[at] = 1;
	assert_int_equal(pagescan_walk(pagemap, (uintptr_t)memory, (uintptr_t)memory + size, &query, &found), 0);
	assert_int_equal(found.nr, (size + step - 1) / step);
	for (size_t i = 0; i < found.nr; i++)
		assert_int_equal(found.v[i].start, (uintptr_t)memory + i * step);
	pagescan_regions_fini(&found);
	munmap(memory, size);
}

/* Pagemap cannot tell these; and an empty entry is no page to it, whatever is asked. */
static void pagemap_refuses_what_it_cannot_tell(void **state)
{
	const struct pagescan_query anything = { 0 };
	char *memory = mmap(NULL, 16 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start = (uintptr_t)memory, end = start + 16 * page;
	struct pagescan_regions found = { 0 };

	(void)state;
	for (int bit = 0; bit < 64; bit++) {
		const uint64_t mask = 1UL << bit;
		const int want = mask & ~PAGESCAN_ALL			     ? -EINVAL :
				 mask & (PAGESCAN_HUGE | PAGESCAN_WPALLOWED) ? -EOPNOTSUPP :
									       0;
		const struct pagescan_query queries[] = {
			{ .required = mask }, { .anyof = mask }, { .excluded = mask }, { .returned = mask }
		};

		for (int i = 0; i < 4; i++)
			assert_int_equal(pagescan_walk_pagemap(pagemap, start, start, &queries[i], &found), want);
	}
	memory[3 * page] = memory[4 * page] = memory[15 * page] = 1;
	assert_int_equal(pagescan_walk_pagemap(pagemap, start, end, &anything, &found), 0);
	assert_int_equal(found.nr, 2);
	assert_int_equal(pagescan_regions_bytes(&found), 3 * page);
	pagescan_regions_fini(&found);
	munmap(memory, 16 * page);
}

/* A mask that an empty entry could answer would make a page that appears later look clean. */
static void only_what_is_there_may_be_protected(void **state)
{
	const uint64_t there = PAGESCAN_PRESENT | PAGESCAN_SWAPPED;
	const struct pagescan_query good[] = {
		{ .required = PAGESCAN_PRESENT },
		{ .required = PAGESCAN_SWAPPED, .anyof = PAGESCAN_WRITTEN },
		{ .anyof = PAGESCAN_SWAPPED },
		{ .required = PAGESCAN_WRITTEN, .anyof = there },
	};
	const struct pagescan_query bad[] = {
		{ 0 },
		{ .excluded = PAGESCAN_PRESENT },
		{ .anyof = there | PAGESCAN_WRITTEN },
		{ .required = PAGESCAN_WRITTEN, .anyof = PAGESCAN_WPALLOWED },
		{ .required = PAGESCAN_WRITTEN, .returned = PAGESCAN_PRESENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(pagescan_protect(pagemap, 0, 0, &good[i], NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(pagescan_protect(pagemap, 0, 0, &bad[i], NULL), -EINVAL);
}

static void protecting_leaves_empty_entries_alone(void **state)
{
	const struct pagescan_query there = { .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	const struct pagescan_query written = { .required = PAGESCAN_WRITTEN | PAGESCAN_PRESENT };
	const struct pagescan_query blind = { .required = PAGESCAN_WRITTEN };
	const size_t size = 4096 * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { { (uintptr_t)memory, size }, UFFDIO_REGISTER_MODE_WP, 0 };
	uint64_t start = (uintptr_t)memory, end = start + size;
	struct pagescan_regions done = { 0 }, found = { 0 };

	(void)state;
	madvise(memory, size, MADV_NOHUGEPAGE);
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	for (size_t at = 0; at < size; at += 2 * page)
		memory[at] = 1;
	assert_int_equal(pagescan_protect(pagemap, start, end, &blind, &done), -EINVAL);
	assert_int_equal(pagescan_protect(pagemap, start, end, &there, &done), 0);
	assert_int_equal(pagescan_regions_bytes(&done), size / 2);
	assert_int_equal(pagescan_walk(pagemap, start, end, &written, &found), 0);
	assert_int_equal(found.nr, 0);

	for (size_t at = page; at < size; at += 2 * page)
		memory[at] = 1; /* appears after the protection */
	assert_int_equal(pagescan_walk(pagemap, start, end, &written, &found), 0);
	assert_int_equal(pagescan_regions_bytes(&found), size / 2);
	pagescan_regions_fini(&found);
	pagescan_regions_fini(&done);
	munmap(memory, size);
}

static int set_up(void **state)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC };
	char name[] = "/tmp/test_walk.XXXXXX";

	(void)state;
	page = pagescan_page_size();
	pagescan_probe(&kernel);
	pagemap = open("/proc/self/pagemap", O_RDONLY);
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	file = mkstemp(name);
	return unlink(name) || ftruncate(file, (off_t)(PAGES * page)) || ioctl(uffd, UFFDIO_API, &api);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways_answer_alike),
		cmocka_unit_test(walks_go_on_past_a_full_vector),
		cmocka_unit_test(touching_regions_are_told_apart_past_a_full_vector),
		cmocka_unit_test(sparse_memory_is_walked_to_its_end),
		cmocka_unit_test(pagemap_refuses_what_it_cannot_tell),
		cmocka_unit_test(only_what_is_there_may_be_protected),
		cmocka_unit_test(protecting_leaves_empty_entries_alone),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
