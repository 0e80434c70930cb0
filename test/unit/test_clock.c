// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whoever works in pieces leaves half of the time to others, from the first stretch that is worth a sleep on: neither
 * nothing, nor a sleep after each small piece.
 */
#include "unit.h"
#include "track/clock.h"

#define LONG 5000000UL

static void gives_as_much_as_it_took(void **state)
{
	const uint64_t since = clock_ns() - LONG;

	(void)state;
	assert_true(clock_share(since) >= since + 2 * LONG);
}

/* Of many tries, as whoever is held up between the two calls has worked for long. */
static void lets_a_short_stretch_go_on(void **state)
{
	int same = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		const uint64_t since = clock_ns();

		same += clock_share(since) == since;
	}
	assert_true(same > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_as_much_as_it_took),
		cmocka_unit_test(lets_a_short_stretch_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
