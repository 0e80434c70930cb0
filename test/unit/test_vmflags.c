// SPDX-License-Identifier: GPL-2.0-only
/* What the bits of an area are called is learned from areas, and told only where it is beyond doubt. */
#include "bind/vmflags.h"
#include "unit.h"

enum { RD = 1, WR = 2, HG = 4, NH = 8, PF = 16, IO = 32, DD = 64, MR = 1 << 30 };

static char text[VMFLAGS_TEXT];

/* A process with the usual areas. */
static struct vmflags usual(void)
{
	struct vmflags flags = { 0 };

	vmflags_learn(&flags, RD | MR, "rd mr \n");
	vmflags_learn(&flags, MR, "mr \n");
	vmflags_learn(&flags, RD | WR | MR, "rd wr mr \n");
	vmflags_learn(&flags, RD | WR | MR | HG, "rd wr mr hg \n");
	vmflags_learn(&flags, RD | WR | MR | NH, "rd wr mr nh \n");
	return flags;
}

static void known_bits_have_their_letters(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	assert_true(vmflags_tell(&flags, RD | WR | HG, text));
	assert_string_equal(text, "rd wr hg ");
	assert_true(vmflags_tell(&flags, MR | NH, text));
	assert_string_equal(text, "mr nh ");
	assert_true(vmflags_tell(&flags, 0, text));
	assert_string_equal(text, "");
}

static void a_bit_that_no_area_had_is_not_told(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	assert_false(vmflags_tell(&flags, RD | 1ULL << 63, text));
	assert_false(vmflags_tell(&flags, DD, text));
	flags = (struct vmflags){ 0 };
	assert_false(vmflags_tell(&flags, RD, text));
}

/* smaps has no letters for some bits, keys of protection for one. */
static void a_bit_without_letters_is_not_told(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	vmflags_learn(&flags, RD | MR | 1ULL << 40, "rd mr");
	assert_false(vmflags_tell(&flags, RD | 1ULL << 40, text));
	assert_true(vmflags_tell(&flags, RD, text));
}

static void two_flags_that_were_always_together_are_told_apart_never(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	/* Whether a page is dumped would hang on it. */
	vmflags_learn(&flags, RD | DD | 128, "rd dd wf");
	assert_false(vmflags_tell(&flags, RD | DD, text));
	/* Another area shows which is which. */
	vmflags_learn(&flags, RD | DD, "rd dd");
	assert_true(vmflags_tell(&flags, RD | DD, text));
	assert_string_equal(text, "rd dd ");
	assert_true(vmflags_tell(&flags, RD | 128, text));
	assert_string_equal(text, "rd wf ");
}

static void one_with_letters_of_no_interest_may_be_one_of_interest(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	vmflags_learn(&flags, RD | DD | 128, "rd dd de");
	assert_false(vmflags_tell(&flags, 128, text));
}

static void frames_and_io_are_one(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	vmflags_learn(&flags, RD | PF | IO, "rd pf io");
	assert_true(vmflags_tell(&flags, RD | PF | IO, text));
	assert_string_equal(text, "rd pf io ");
	assert_true(vmflags_tell(&flags, RD | PF, text));
	assert_string_equal(text, "rd pf io ");
}

static void what_criu_does_not_ask_for_may_be_told_together(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	vmflags_learn(&flags, RD | 256 | 512, "rd mw me");
	assert_true(vmflags_tell(&flags, RD | 256, text));
	assert_string_equal(text, "rd mw me ");
}

static void more_names_than_there_are_bits_are_survived(void **state)
{
	struct vmflags flags = usual();

	(void)state;
	for (char first = 'a'; first <= 'd'; first++) {
		for (char second = 'a'; second <= 'z'; second++) {
			const char name[] = { first, second, '\0' };

			vmflags_learn(&flags, 1ULL << 50, name);
		}
	}
	assert_int_equal(flags.nr, VMFLAGS_MAX);
	assert_false(vmflags_tell(&flags, 1ULL << 50, text));
	assert_true(vmflags_tell(&flags, RD | HG, text));
}

static void letters_end_with_what_is_none(void **state)
{
	struct vmflags flags = { 0 };

	(void)state;
	vmflags_learn(&flags, RD, "");
	vmflags_learn(&flags, WR, "wr w");
	assert_true(vmflags_tell(&flags, WR, text));
	assert_string_equal(text, "wr ");
	assert_false(vmflags_tell(&flags, RD, text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_bits_have_their_letters),
		cmocka_unit_test(a_bit_that_no_area_had_is_not_told),
		cmocka_unit_test(a_bit_without_letters_is_not_told),
		cmocka_unit_test(two_flags_that_were_always_together_are_told_apart_never),
		cmocka_unit_test(one_with_letters_of_no_interest_may_be_one_of_interest),
		cmocka_unit_test(frames_and_io_are_one),
		cmocka_unit_test(what_criu_does_not_ask_for_may_be_told_together),
		cmocka_unit_test(more_names_than_there_are_bits_are_survived),
		cmocka_unit_test(letters_end_with_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
