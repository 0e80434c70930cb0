// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whoever works in pieces leaves half of the time to others, from the first stretch that is worth a sleep on: neither
 * nothing, nor a sleep after each small piece.
 */
#include <stdbool.h>
#include <time.h>

#include "unit.h"
#include "track/clock.h"

#define LONG 5000000UL

static void gives_as_much_as_it_took(void **state)
{
	uint64_t since, began;

	(void)state;
	while (clock_work() < LONG)
		;
	since = clock_ns();
	began = clock_work();
	assert_true(clock_share(began - LONG) >= began);
	assert_true(clock_ns() - since >= LONG);
}

/* Whoever else runs meanwhile: only work counts. In a slow emulation a try may be work enough. */
static void lets_a_short_stretch_go_on(void **state)
{
	const struct timespec pause = { .tv_nsec = LONG };
	bool same = false;

	(void)state;
	for (int i = 0; i < 10 && !same; i++) {
		const uint64_t since = clock_work();

		nanosleep(&pause, NULL);
		same = clock_share(since) == since;
	}
	assert_true(same);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_as_much_as_it_took),
		cmocka_unit_test(lets_a_short_stretch_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
