// SPDX-License-Identifier: GPL-2.0-only
/* When rounds end: at the wanted pause, or later where more of them pay, but never without end. */
#include "copy/converge.h"
#include "unit.h"

#define LIMIT 0.3

static void a_pause_that_fits_ends_the_rounds(void **state)
{
	struct converge converge = { .limit = LIMIT };

	(void)state;
	assert_int_equal(converge_decide(&converge, 2.0, 1.9), CONVERGE_GO_ON);
	assert_int_equal(converge_decide(&converge, 0.2, 0.001), CONVERGE_FITS);
}

/* The process does not stand still for another round, but it does for what is left to copy. */
static void one_that_can_be_shorter_has_another_round(void **state)
{
	struct converge converge = { .limit = LIMIT };

	(void)state;
	assert_int_equal(converge_decide(&converge, 0.29, 0.2), CONVERGE_BETTER);
	assert_int_equal(converge_decide(&converge, 0.15, 0.06), CONVERGE_BETTER);
	assert_int_equal(converge_decide(&converge, 0.1, 0.01), CONVERGE_FITS);
}

/* As much is written during a round as it copies. */
static void one_that_does_not_get_shorter_has_none(void **state)
{
	struct converge converge = { .limit = LIMIT };

	(void)state;
	assert_int_equal(converge_decide(&converge, 0.29, 0.2), CONVERGE_BETTER);
	assert_int_equal(converge_decide(&converge, 0.285, 0.195), CONVERGE_FITS);
}

static void one_round_is_one_round(void **state)
{
	struct converge converge = { .limit = LIMIT, .max_rounds = 1 };

	(void)state;
	assert_int_equal(converge_decide(&converge, 0.29, 0.2), CONVERGE_FITS);
	converge = (struct converge){ .limit = LIMIT, .max_rounds = 1 };
	assert_int_equal(converge_decide(&converge, 3, 2), CONVERGE_ENOUGH);
}

static void rounds_that_do_not_help_end(void **state)
{
	struct converge converge = { .limit = LIMIT };

	(void)state;
	assert_int_equal(converge_decide(&converge, 3.0, 2.9), CONVERGE_GO_ON);
	assert_int_equal(converge_decide(&converge, 2.9, 2.8), CONVERGE_GO_ON);
	assert_int_equal(converge_decide(&converge, 2.8, 2.7), CONVERGE_POINTLESS);
}

/* The price of a freeze is not for bytes. */
static void the_part_for_bytes_is_told(void **state)
{
	const struct written written = { .tasks = 1, .written = 1000000, .untracked = 500000, .shared = 500000 };
	double copying, pause = converge_pause(&written, 1e7, &copying);

	(void)state;
	assert_true(copying > 0.19 && copying < 0.21);
	assert_true(pause > copying);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pause_that_fits_ends_the_rounds),
		cmocka_unit_test(one_that_can_be_shorter_has_another_round),
		cmocka_unit_test(one_that_does_not_get_shorter_has_none),
		cmocka_unit_test(one_round_is_one_round),
		cmocka_unit_test(rounds_that_do_not_help_end),
		cmocka_unit_test(the_part_for_bytes_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
