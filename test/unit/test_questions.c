// SPDX-License-Identifier: GPL-2.0-only
/* What a snapshot answers at all: which questions, of which areas, and what it remembers of having been asked. */
#include <errno.h>

#include "memory.h"

/* The tracker lets go of areas that CRIU did not ask about, even if they were read together with a neighbour. */
static void only_what_was_asked_about_counts_as_asked(void **state)
{
	struct pagescan_region vec[1];
	struct pagescan_ioctl_arg arg = question(7, 8, vec, 1);
	struct snapshot snapshot;
	size_t index;

	(void)state;
	map(0, PAGES, ANONYMOUS);
	for (size_t i = 0; i < 32; i += 2)
		mprotect(page_at(i), page, PROT_READ);
	assert_int_equal(snapshot_init(&snapshot, proc_dir, &kernel), 0);
	index = areas_find(&snapshot.areas, (uintptr_t)page_at(7));
	assert_int_equal(snapshot_scan(&snapshot, &arg), 0);
	for (size_t i = 0; i < snapshot.areas.nr; i++)
		assert_int_equal(snapshot.areas.v[i].asked, i == index);
	assert_true(snapshot.areas.v[index + 1].read);
	snapshot_fini(&snapshot);
}

static void the_vdso_is_dirty_always(void **state)
{
	const uint64_t want = PAGESCAN_PRESENT | PAGESCAN_SOFT_DIRTY;
	struct pagescan_region vec[2];
	struct pagescan_ioctl_arg arg = question(0, 0, vec, 2);
	const struct area *vdso = NULL;
	struct snapshot snapshot;
	uint64_t pme = 0;

	(void)state;
	assert_int_equal(snapshot_init(&snapshot, proc_dir, &kernel), 0);
	for (size_t i = 0; i < snapshot.areas.nr; i++) {
		if (snapshot.areas.v[i].vdso)
			vdso = &snapshot.areas.v[i];
	}
	assert_non_null(vdso);
	/* A small neighbour is looked at first, and with it what takes the same question. */
	arg.start = vdso[-1].start;
	arg.end = vdso[-1].end;
	assert_true(snapshot_scan(&snapshot, &arg) >= 0);
	arg.start = vdso->start;
	arg.end = vdso->end;
	assert_int_equal(snapshot_scan(&snapshot, &arg), 1);
	assert_true(vec[0].start == vdso->start && vec[0].end == vdso->end && vec[0].categories == want);
	assert_int_equal(snapshot_patch(&snapshot, vdso->start / page, &pme, 1), 0);
	assert_true((pme & PME_PRESENT) && (pme & PME_SOFT_DIRTY));
	snapshot_fini(&snapshot);
}

/* Whatever CRIU asks one day that this does not know gets the kernel's answer: nothing of the call may be changed. */
static void other_questions_are_left_alone(void **state)
{
	struct pagescan_region vec[2];
	const struct pagescan_ioctl_arg good = question(0, PAGES, vec, 2);
	struct pagescan_ioctl_arg bad[10];
	struct snapshot snapshot;
	size_t nr = sizeof(bad) / sizeof(*bad);

	(void)state;
	for (size_t i = 0; i < nr; i++)
		bad[i] = good;
	bad[0].size--;
	bad[1].flags = PAGESCAN_WP_MATCHING;
	bad[2].max_pages = 1;
	bad[3].vec_len = 0;
	bad[4].category_mask |= PAGESCAN_WRITTEN;
	bad[5].category_inverted = PAGESCAN_FILE;
	bad[6].category_anyof_mask = PAGESCAN_PRESENT;
	bad[7].return_mask |= PAGESCAN_WRITTEN;
	bad[8].category_mask = bad[8].category_inverted = 0;
	bad[9].return_mask |= 1ULL << 40;
	assert_int_equal(snapshot_init(&snapshot, proc_dir, &kernel), 0);
	for (size_t i = 0; i < nr; i++) {
		struct pagescan_ioctl_arg was = bad[i];

		memset(vec, 0x5a, sizeof(vec));
		assert_int_equal(snapshot_scan(&snapshot, &bad[i]), -EOPNOTSUPP);
		assert_memory_equal(&was, &bad[i], sizeof(was));
		for (size_t b = 0; b < sizeof(vec); b++)
			assert_int_equal(((const uint8_t *)vec)[b], 0x5a);
	}
	snapshot_fini(&snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_what_was_asked_about_counts_as_asked, clear),
		cmocka_unit_test_setup(the_vdso_is_dirty_always, clear),
		cmocka_unit_test_setup(other_questions_are_left_alone, clear),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
