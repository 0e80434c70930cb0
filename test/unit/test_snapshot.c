// SPDX-License-Identifier: GPL-2.0-only
/*
 * A snapshot's answers, by scan and by patched pagemap entries, against a model read off pagemap page by page: over
 * memory built at random, for any window and vector; and that looking changes nothing and is done once.
 */
#include "memory.h"

/* Set in what is said of a page, whatever categories that are; a page of which nothing is said is 0. */
#define TOLD (1ULL << 63)

/* A piece of memory of one kind, protected and then used again. */
static void build_piece(size_t first, size_t nr, uint64_t *seed)
{
	enum { FILE_PRIVATE, FILE_SHARED, HOLE, UNTOUCHABLE, HUGE, GUARDED, PLAIN, KINDS = 12 } kind;
	bool is_file;

	kind = next_random(seed) % KINDS;
	is_file = kind == FILE_PRIVATE || kind == FILE_SHARED;
	map(first, nr, kind == FILE_SHARED ? MAP_SHARED : kind == FILE_PRIVATE ? MAP_PRIVATE : ANONYMOUS);
	if (kind == HOLE) {
		munmap(page_at(first), nr * page);
		return;
	}
	madvise(page_at(first), nr * page, kind == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	watch(first, nr);
	for (int pass = 0; pass < 2; pass++) {
		const uint64_t untouched = next_random(seed) % 6;

		for (size_t i = 0; i < nr; i++) {
			if (next_random(seed) % 6 > untouched)
				touch(page_at(first + i), next_random(seed) % 3);
		}
		if (kind == GUARDED && kernel.guard)
			madvise(page_at(first + next_random(seed) % nr), page, MADV_GUARD_INSTALL);
		if (next_random(seed) % 3 == 0)
			madvise(page_at(first + next_random(seed) % nr), page, MADV_DONTNEED);
		if (next_random(seed) % 3 == 0)
			madvise(page_at(first), nr / 2 * page, MADV_PAGEOUT);
		if (!pass)
			protect(first, nr - next_random(seed) % nr / 3, is_file,
				!is_file && next_random(seed) % 3 == 0);
	}
	if (kind == UNTOUCHABLE)
		mprotect(page_at(first), nr * page, PROT_NONE);
}

static void build(uint64_t *seed)
{
	for (size_t at = 0, nr; at < PAGES; at += nr) {
		nr = 1 + next_random(seed) % (next_random(seed) % 3 ? 12 : 500);
		nr = nr < PAGES - at ? nr : PAGES - at;
		build_piece(at, nr, seed);
	}
}

/* Areas of our memory are trusted as @chance says: 0 for none, 1 for all, 2 for one half. */
static void begin(struct snapshot *snapshot, uint64_t chance, uint64_t *seed)
{
	assert_int_equal(snapshot_init(snapshot, proc_dir, &kernel), 0);
	for (struct area *area = area_of(snapshot, memory);
	     area < snapshot->areas.v + snapshot->areas.nr && area->start < (uintptr_t)page_at(PAGES); area++)
		area->ours = area->trusted = chance && next_random(seed) % chance == 0;
}

/* What the snapshot has to say of each page; 0 for nothing. Of a clean page only that it is there. */
static void model(struct snapshot *snapshot, uint64_t want[PAGES])
{
	const struct pagescan_query zero = { .required = PAGESCAN_PFNZERO };
	struct pagescan_regions zeros = { 0 };
	uint64_t pme[PAGES];

	read_pagemap(pme);
	assert_int_equal(pagescan_walk(pagemap, (uintptr_t)memory, (uintptr_t)page_at(PAGES), &zero, &zeros), 0);
	for (size_t i = 0, at = 0; i < PAGES; i++) {
		const uint64_t addr = (uintptr_t)page_at(i);
		const struct area *area = area_of(snapshot, page_at(i));
		const bool dropped = (pme[i] & PME_SWAP) && (pme[i] & PME_UFFD_WP) && (pme[i] & 0x1f) == 0x1f;

		while (at < zeros.nr && zeros.v[at].end <= addr)
			at++;
		want[i] = 0;
		if (!(pme[i] & (PME_PRESENT | PME_SWAP)) || (pme[i] & PME_FILE) || dropped)
			continue;
		if (area->trusted && (pme[i] & PME_UFFD_WP))
			want[i] = TOLD;
		else if (at == zeros.nr || zeros.v[at].start > addr)
			want[i] = TOLD | PAGESCAN_SOFT_DIRTY |
				  (pme[i] & PME_PRESENT ? PAGESCAN_PRESENT : PAGESCAN_SWAPPED) |
				  (kernel.guard && (pme[i] & PME_GUARD) ? PAGESCAN_GUARD : 0);
	}
	pagescan_regions_fini(&zeros);
}

/* Ask as CRIU does, going on from walk_end until the window is done; one entry a page into @got. */
static void scan(struct snapshot *snapshot, size_t first, size_t end, size_t len, uint64_t mask, uint64_t got[PAGES])
{
	struct pagescan_region vec[64], last = { 0 };
	struct pagescan_ioctl_arg arg = question(first, end, vec, len);

	arg.return_mask &= mask;
	memset(got, 0, PAGES * sizeof(*got));
	while (arg.start < arg.end) {
		int nr = snapshot_scan(snapshot, &arg);

		assert_in_range(nr, 0, len);
		assert_true(arg.walk_end == arg.end || (nr == (int)len && arg.walk_end >= vec[nr - 1].end));
		for (int r = 0; r < nr; r++) {
			assert_true(vec[r].start >= arg.start && vec[r].start < vec[r].end && vec[r].end <= arg.end);
			assert_false(vec[r].categories & ~mask);
			assert_true(vec[r].start > last.end ||
				    (vec[r].start == last.end && vec[r].categories != last.categories));
			last = vec[r];
			for (uint64_t at = vec[r].start; at < vec[r].end; at += page)
				got[(at - (uintptr_t)memory) / page] = TOLD | vec[r].categories;
		}
		arg.start = arg.walk_end;
	}
}

/*
 * The same by entries of pagemap. What it says of a page is turned back into categories; it must be what the kernel
 * said but for the soft-dirty bit, which the kernel may have set, and for dropped pages.
 */
static void patch(struct snapshot *snapshot, size_t first, size_t end, const uint64_t want[PAGES], uint64_t got[PAGES])
{
	uint64_t pme[PAGES], was[PAGES];

	memset(got, 0, PAGES * sizeof(*got));
	read_pagemap(was);
	for (size_t i = first; i < end; i++)
		pme[i] = was[i] | (i % 2 && (was[i] & (PME_PRESENT | PME_SWAP)) ? PME_SOFT_DIRTY : 0);
	assert_int_equal(snapshot_patch(snapshot, (uintptr_t)page_at(first) / page, &pme[first], end - first), 0);
	for (size_t i = first; i < end; i++) {
		if (want[i] || !(was[i] & PME_SWAP))
			assert_int_equal(pme[i] & ~PME_SOFT_DIRTY, was[i] & ~PME_SOFT_DIRTY);
		/* The zero page is told by its frame, which this leaves to the kernel. */
		if ((pme[i] & PME_FILE) || !(pme[i] & (PME_PRESENT | PME_SWAP)) || (!want[i] && (pme[i] & PME_PRESENT)))
			continue;
		got[i] = TOLD | (pme[i] & PME_PRESENT ? PAGESCAN_PRESENT : PAGESCAN_SWAPPED) |
			 (pme[i] & PME_SOFT_DIRTY ? PAGESCAN_SOFT_DIRTY : 0);
	}
}

/* Of a clean page it does not matter how it is there. */
static bool agree(const uint64_t want[PAGES], const uint64_t got[PAGES], size_t first, size_t end, uint64_t mask,
		  const char *how)
{
	for (size_t i = first; i < end; i++) {
		const uint64_t matters = TOLD | (want[i] == TOLD ? mask & PAGESCAN_SOFT_DIRTY : mask);

		if ((got[i] & matters) != (want[i] & matters)) {
			print_message("# %s, page %zu of %zu-%zu: %lx, not %lx\n", how, i, first, end, got[i] & matters,
				      want[i] & matters);
			return false;
		}
	}
	return true;
}

static bool round_agrees(uint64_t round)
{
	uint64_t seed = round, want[PAGES], got[PAGES], before[PAGES], after[PAGES];
	struct snapshot snapshot;
	bool good = true;

	build(&seed);
	begin(&snapshot, round % 4 ? 1 + round % 2 : 0, &seed);
	snapshot.holes_written = snapshot.holes_written && round % 3;
	if (round % 5 == 0)
		snapshot.resident = 0; /* all areas look sparse */
	model(&snapshot, want);
	read_pagemap(before);
	for (int i = 0; i < 20 && good; i++) {
		size_t first = next_random(&seed) % PAGES;
		size_t end = first + 1 + next_random(&seed) % (PAGES - first);
		uint64_t mask = i % 4 == 1 ? next_random(&seed) & PAGESCAN_ALL : PAGESCAN_ALL;

		if (i % 2) {
			scan(&snapshot, first, end, i % 8 == 1 ? 1 + next_random(&seed) % 3 : 64, mask, got);
			good = agree(want, got, first, end, mask, "scan");
		} else {
			patch(&snapshot, first, end, want, got);
			good = agree(want, got, first, end, POPULATED | PAGESCAN_SOFT_DIRTY, "pagemap");
		}
	}
	read_pagemap(after);
	snapshot_fini(&snapshot);
	return good && !memcmp(before, after, sizeof(before));
}

/* The kernel may move a page or put the zero page in its place at any time, but not three times in a row. */
static void scan_and_pagemap_tell_what_was_written(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 60; round++) {
		if (!round_agrees(round) && !round_agrees(round) && !round_agrees(round))
			fail_msg("seed %lu", round);
	}
}

/* Written pages with gaps just below and above what is looked at by one call, some of them dropped or never there. */
static void spans_of_written_pages_lose_nothing(void **state)
{
	uint64_t seed = 1, want[PAGES], got[PAGES];
	struct snapshot snapshot;

	(void)state;
	for (uint64_t round = 0; round < 20; round++) {
		map(0, PAGES, ANONYMOUS);
		madvise(memory, PAGES * page, MADV_NOHUGEPAGE);
		watch(0, PAGES);
		for (size_t i = 0; i < PAGES; i++)
			touch(page_at(i), round % 2 || next_random(&seed) % 8);
		protect(0, PAGES, false, false);
		for (size_t i = next_random(&seed) % 70; i < PAGES;
		     i += 1 + next_random(&seed) % 3 + 62 * (i % 3 > 0)) {
			if (next_random(&seed) % 4)
				touch(page_at(i), true);
			else
				madvise(page_at(i), page, MADV_DONTNEED);
		}
		begin(&snapshot, 1, &seed);
		model(&snapshot, want);
		scan(&snapshot, 0, PAGES, 64, PAGESCAN_ALL, got);
		assert_true(agree(want, got, 0, PAGES, PAGESCAN_ALL, "scan"));
		snapshot_fini(&snapshot);
	}
}

/* CRIU asks twice about the same addresses; writes from outside the frozen tree must not make two answers of it. */
static void an_area_is_read_once(void **state)
{
	uint64_t seed = 2, first[PAGES], second[PAGES];
	struct snapshot snapshot;

	(void)state;
	map(0, PAGES, ANONYMOUS);
	madvise(memory, PAGES * page, MADV_NOHUGEPAGE);
	watch(0, PAGES);
	for (size_t i = 0; i < PAGES; i += 2)
		touch(page_at(i), true);
	protect(0, PAGES, false, false);
	begin(&snapshot, 1, &seed);
	scan(&snapshot, 0, PAGES, 64, PAGESCAN_ALL, first);
	for (size_t i = 0; i < PAGES; i += 3)
		touch(page_at(i), true);
	scan(&snapshot, 0, PAGES, 64, PAGESCAN_ALL, second);
	assert_memory_equal(first, second, sizeof(first));
	snapshot_fini(&snapshot);
}

/* The kernel keeps a marker where a protected page of a file's area was dropped, and calls it swapped. */
static void a_dropped_page_is_absent(void **state)
{
	uint64_t seed = 4, want[PAGES], got[PAGES], pme[PAGES];
	struct snapshot snapshot;

	(void)state;
	map(0, 64, MAP_PRIVATE);
	watch(0, 64);
	for (size_t i = 0; i < 64; i++)
		touch(page_at(i), true);
	protect(0, 64, true, false);
	madvise(page_at(10), 4 * page, MADV_DONTNEED);
	read_pagemap(pme);
	assert_true((pme[10] & PME_SWAP) && (pme[10] & PME_UFFD_WP)); /* else this shows nothing */
	begin(&snapshot, 1, &seed);
	scan(&snapshot, 0, 64, 8, PAGESCAN_ALL, got);
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(got[i], i >= 10 && i < 14 ? 0 : TOLD | PAGESCAN_PRESENT);
	memset(want, 0, sizeof(want));
	patch(&snapshot, 10, 14, want, got);
	assert_true(agree(want, got, 10, 14, PAGESCAN_ALL, "pagemap"));
	snapshot_fini(&snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(scan_and_pagemap_tell_what_was_written, clear),
		cmocka_unit_test_setup(spans_of_written_pages_lose_nothing, clear),
		cmocka_unit_test_setup(an_area_is_read_once, clear),
		cmocka_unit_test_setup(a_dropped_page_is_absent, clear),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
