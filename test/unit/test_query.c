// SPDX-License-Identifier: GPL-2.0-only
/* The translation of a query into the kernel's inverted masks, against a model of the kernel's rule. */
#include <errno.h>

#include "scan/uapi.h"
#include "unit.h"

/* fs/proc/task_mmu.c, pagemap_scan_is_interesting_page. */
static bool kernel_takes(const struct pagescan_ioctl_arg *arg, uint64_t categories)
{
	categories ^= arg->category_inverted;
	if ((categories & arg->category_mask) != arg->category_mask)
		return false;
	return !arg->category_anyof_mask || (categories & arg->category_anyof_mask);
}

static void check(const struct pagescan_query *query)
{
	struct pagescan_ioctl_arg arg = { 0 };
	int err = pagescan_query_to_kernel(query, &arg);
	bool any = false;

	for (uint64_t categories = 0; categories <= PAGESCAN_ALL; categories++) {
		bool match = pagescan_query_match(query, categories);

		any = any || match;
		if (!err && match != kernel_takes(&arg, categories))
			fail_msg("required %lx anyof %lx excluded %lx: categories %lx", query->required, query->anyof,
				 query->excluded, categories);
	}
	assert_int_equal(err, any ? 0 : -ENODATA);
	if (!err)
		assert_int_equal(arg.return_mask, query->returned);
}

static void the_kernel_takes_what_the_query_matches(void **state)
{
	uint64_t seed = 7;

	(void)state;
	/* All masks of four categories, then many of all nine. */
	for (unsigned int i = 0; i < 1 << 12; i++)
		check(&(struct pagescan_query){ .required = i & 15, .anyof = i >> 4 & 15, .excluded = i >> 8 });
	for (int i = 0; i < 20000; i++)
		check(&(struct pagescan_query){ .required = next_random(&seed) & next_random(&seed) & PAGESCAN_ALL,
						.anyof = next_random(&seed) & PAGESCAN_ALL,
						.excluded = next_random(&seed) & next_random(&seed) & PAGESCAN_ALL,
						.returned = next_random(&seed) & PAGESCAN_ALL });
}

static void unknown_categories_are_refused(void **state)
{
	struct pagescan_ioctl_arg arg;

	(void)state;
	for (int bit = 9; bit < 64; bit++) {
		const uint64_t mask = 1UL << bit;

		assert_int_equal(pagescan_query_to_kernel(&(struct pagescan_query){ .required = mask }, &arg), -EINVAL);
		assert_int_equal(pagescan_query_to_kernel(&(struct pagescan_query){ .anyof = mask }, &arg), -EINVAL);
		assert_int_equal(pagescan_query_to_kernel(&(struct pagescan_query){ .excluded = mask }, &arg), -EINVAL);
		assert_int_equal(pagescan_query_to_kernel(&(struct pagescan_query){ .returned = mask }, &arg), -EINVAL);
	}
}

static void equal_neighbours_are_one_region(void **state)
{
	struct pagescan_regions regions = { 0 };

	(void)state;
	assert_int_equal(pagescan_regions_add(&regions, 0, 10, 1), 0);
	assert_int_equal(pagescan_regions_add(&regions, 10, 20, 1), 0);
	assert_int_equal(pagescan_regions_add(&regions, 20, 30, 2), 0);
	assert_int_equal(pagescan_regions_add(&regions, 40, 50, 2), 0);
	assert_int_equal(regions.nr, 3);
	assert_int_equal(regions.v[0].end, 20);
	assert_int_equal(pagescan_regions_bytes(&regions), 40);
	assert_int_equal(pagescan_regions_add(&regions, 45, 60, 2), -EINVAL);
	assert_int_equal(pagescan_regions_add(&regions, 60, 60, 2), -EINVAL);
	pagescan_regions_fini(&regions);
	assert_int_equal(regions.nr, 0);
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(pagescan_regions_add(&regions, i, i + 1, i & 1), 0);
	assert_int_equal(regions.nr, 100000);
	pagescan_regions_fini(&regions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_takes_what_the_query_matches),
		cmocka_unit_test(unknown_categories_are_refused),
		cmocka_unit_test(equal_neighbours_are_one_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
