// SPDX-License-Identifier: GPL-2.0-only
/* Lists of regions against a model page by page; and that lists that cannot grow stay as they were and say so. */
#include <errno.h>
#include <stdlib.h>

#include "scan/areas.h"
#include "track/epoch.h"
#include "unit.h"

#define PAGES 400

static bool no_memory;

/* In place of libc's. */
void *reallocarray(void *was, size_t nr, size_t size)
{
	return no_memory ? NULL : realloc(was, nr * size);
}

static void a_list_holds_what_was_added(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 200; round++) {
		uint64_t seed = round, model[PAGES + 1] = { 0 }, got[PAGES + 1] = { 0 }, bytes = 0;
		struct pagescan_regions regions = { 0 };

		for (uint64_t at = 1; at < PAGES;) {
			uint64_t start = at + (next_random(&seed) % 3 ? 0 : next_random(&seed) % 5);
			uint64_t end = start + next_random(&seed) % 6, categories = 1 + next_random(&seed) % 2;

			end = end < PAGES ? end : PAGES;
			/* What is refused leaves no trace. */
			assert_int_equal(pagescan_regions_add(&regions, start, end, categories),
					 start < end ? 0 : -EINVAL);
			if (regions.nr)
				assert_int_equal(pagescan_regions_add(&regions, regions.v[regions.nr - 1].end - 1,
								      PAGES + 9, 1),
						 -EINVAL);
			for (uint64_t i = start; i < end; i++, bytes++)
				model[i] = categories;
			at = end > at ? end : at + 1;
		}
		for (size_t i = 0; i < regions.nr; i++) {
			const struct pagescan_region *region = &regions.v[i];

			if (i)
				assert_true(region[-1].end < region->start ||
					    (region[-1].end == region->start &&
					     region[-1].categories != region->categories));
			for (uint64_t at = region->start; at < region->end; at++)
				got[at] = region->categories;
		}
		assert_memory_equal(got, model, sizeof(got));
		assert_int_equal(pagescan_regions_bytes(&regions), bytes);
		pagescan_regions_fini(&regions);
		assert_true(!regions.v && !regions.nr && !regions.room);
	}
}

static void a_list_that_cannot_grow_stays_as_it_was(void **state)
{
	const struct epoch_record record = { .pid = 1 };
	struct pagescan_regions regions = { 0 };
	struct epoch_image image = { 0 };
	struct areas areas = { 0 };

	(void)state;
	no_memory = true;
	assert_int_equal(pagescan_regions_add(&regions, 1, 2, 0), -ENOMEM);
	assert_int_equal(areas_add_line(&areas, "1000-2000 rw-p 0 0:0 0"), -ENOMEM);
	assert_int_equal(epoch_image_add(&image, &record), -ENOMEM);
	assert_true(!regions.nr && !areas.nr && !image.nr);

	no_memory = false;
	assert_int_equal(pagescan_regions_add(&regions, 1, 2, 0), 0);
	no_memory = true;
	while (regions.nr < regions.room)
		assert_int_equal(pagescan_regions_add(&regions, regions.nr * 2 + 1, regions.nr * 2 + 2, 0), 0);
	assert_int_equal(pagescan_regions_add(&regions, 999, 1000, 0), -ENOMEM);
	assert_int_equal(regions.nr, regions.room);
	assert_int_equal(pagescan_regions_add(&regions, regions.nr * 2, 1000, 0), 0); /* with the last one, one */
	assert_int_equal(regions.v[regions.nr - 1].end, 1000);
	no_memory = false;
	pagescan_regions_fini(&regions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_holds_what_was_added),
		cmocka_unit_test(a_list_that_cannot_grow_stays_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
