// SPDX-License-Identifier: GPL-2.0-only
/*
 * A chain of rounds that is loaded and folded holds, after each round, what it would have held without: for every page the
 * bytes of the last round that had it. A round is drawn as a string, a character a page: 'X' it is there (all its bytes
 * are the round's number), '.' it is in the parent, ' ' the round does not have it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "land/landing.h"
#include "land/outline.h"
#include "unit.h"

#define PAGE  4096UL
#define PAGES 24
#define START 0x7f1234400000UL
#define PID   7

static char base[] = "/tmp/test_fold.XXXXXX";
static struct landing landing;

/* The first page that the outlines tell of, and the one behind the last. */
static size_t told_first, told_end;

static int set_up(void **state)
{
	(void)state;
	strcpy(base, "/tmp/test_fold.XXXXXX");
	landing = (struct landing){ 0 };
	told_first = 0;
	told_end = PAGES;
	return !mkdtemp(base);
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	landing_fini(&landing);
	snprintf(command, sizeof(command), "rm -r %s", base);
	return system(command);
}

static int open_round(unsigned int round)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%u", base, round);
	(void)mkdir(path, 0700);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The pages of one task, in one area, of which the outline tells, or in others. */
static void write_task(int dir, int pid, uint32_t pages_id, unsigned int round, const char *drawn)
{
	struct pool_range area = { START + told_first * PAGE, START + told_end * PAGE, 0 };
	const struct outline outline = { &area, area.start < area.end };
	struct image_pagemap pagemap;
	unsigned char page[PAGE];
	char name[32];
	int pages;

	assert_int_equal(outline_write(dir, pid, &outline), 0);
	assert_int_equal(image_pagemap_open(&pagemap, dir, pid, pages_id), 0);
	image_pages_name(name, pages_id);
	pages = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	memset(page, (int)round, sizeof(page));
	for (size_t i = 0; drawn[i]; i++) {
		if (drawn[i] == 'X')
			assert_int_equal(write(pages, page, PAGE), PAGE);
		if (drawn[i] != ' ')
			assert_int_equal(image_pagemap_add(&pagemap, START + i * PAGE, START + (i + 1) * PAGE,
							   drawn[i] == 'X' ? IMAGE_PRESENT : IMAGE_IN_PARENT),
					 0);
	}
	close(pages);
	assert_int_equal(image_pagemap_close(&pagemap), 0);
}

static void load(unsigned int round)
{
	struct reason why;
	uint64_t bytes;
	char path[64];

	snprintf(path, sizeof(path), "%s/%u", base, round);
	assert_int_equal(landing_load(&landing, path, &bytes, &why), 0);
}

static void write_and_load(unsigned int round, const char *drawn)
{
	int dir = open_round(round);

	write_task(dir, PID, 1, round, drawn);
	close(dir);
	load(round);
}

/* As CRIU does: the page of @round, or of its parent if it says so. Returns its bytes' value, -1 if nothing is there. */
static int resolve(unsigned int round, int pid, uint64_t addr)
{
	unsigned char page[PAGE];
	struct image_runs runs;
	char name[32];
	int dir = open_round(round), value = -1, pages;
	size_t i;

	if (image_read_runs(dir, pid, &runs)) {
		close(dir);
		return -1;
	}
	i = image_runs_find(&runs, addr);
	if (i < runs.nr && runs.v[i].start <= addr && runs.v[i].in_parent) {
		value = round > 1 ? resolve(round - 1, pid, addr) : -1;
	} else if (i < runs.nr && runs.v[i].start <= addr) {
		image_pages_name(name, runs.pages_id);
		pages = openat(dir, name, O_RDONLY | O_CLOEXEC);
		if (pread(pages, page, PAGE, (off_t)(runs.v[i].offset + (addr - runs.v[i].start))) == PAGE) {
			value = *page;
			for (size_t j = 0; j < PAGE; j++)
				assert_int_equal(page[j], value);
		}
		close(pages);
	}
	image_runs_fini(&runs);
	close(dir);
	return value;
}

/* What the chain holds of the first pages: a digit each, '-' where nothing is. */
static void expect(unsigned int round, const char *digits)
{
	for (size_t i = 0; digits[i]; i++)
		assert_int_equal(resolve(round, PID, START + i * PAGE), digits[i] == '-' ? -1 : digits[i] - '0');
}

/* How many pages the task's pages file of a round has. */
static long pages_of(unsigned int round)
{
	struct image_runs runs;
	struct stat st;
	char name[32];
	int dir = open_round(round);

	assert_int_equal(image_read_runs(dir, PID, &runs), 0);
	image_pages_name(name, runs.pages_id);
	assert_int_equal(fstatat(dir, name, &st, 0), 0);
	image_runs_fini(&runs);
	close(dir);
	return st.st_size / (long)PAGE;
}

static void pages_go_where_the_old_ones_are(void **state)
{
	(void)state;
	write_and_load(1, "XXXXXXXX");
	write_and_load(2, ".X.XX..X");
	expect(2, "12122112");
	assert_int_equal(pages_of(1), 8);
	assert_int_equal(pages_of(2), 0);
	write_and_load(3, "X.X....X");
	expect(3, "32322113");
	assert_int_equal(pages_of(3), 0);
}

static void new_pages_stay(void **state)
{
	(void)state;
	write_and_load(1, "XXXX  ");
	write_and_load(2, "XX..X ");
	expect(2, "22112-");
	assert_int_equal(pages_of(2), 1);
	write_and_load(3, "X...XX");
	expect(3, "321133");
	assert_int_equal(pages_of(3), 1);
}

/* A later round has the page, but none in between: there is no way from it to the earlier one. */
static void page_that_was_away_does_not_go_back(void **state)
{
	(void)state;
	write_and_load(1, "XXXX");
	write_and_load(2, ".. .");
	write_and_load(3, "XXX.");
	expect(3, "3331");
	assert_int_equal(pages_of(3), 1);
}

/* It was private memory, and is another area's now, which is not loaded: what is held of it is old. */
static void page_that_is_not_loaded_stays(void **state)
{
	(void)state;
	write_and_load(1, "XXXXXXXX");
	told_first = 2;
	told_end = 6;
	write_and_load(2, "XXXX...X");
	expect(2, "22221112");
	assert_int_equal(pages_of(2), 5);
}

static void task_that_was_away_does_not_go_back(void **state)
{
	int dir;

	(void)state;
	write_and_load(1, "XXXX");
	dir = open_round(2);
	close(dir);
	load(2);
	write_and_load(3, "XXXX");
	expect(3, "3333");
	assert_int_equal(pages_of(3), 4);
}

static void little_is_not_worth_it(void **state)
{
	(void)state;
	write_and_load(1, "XX    ");
	write_and_load(2, "X.XXXX");
	expect(2, "212222");
	assert_int_equal(pages_of(2), 5);
	/* Round 2 has the first page for good. */
	write_and_load(3, "XXX...");
	expect(3, "333222");
	assert_int_equal(pages_of(3), 0);
}

static void tasks_do_not_mix(void **state)
{
	int dir = open_round(1);

	(void)state;
	write_task(dir, PID, 1, 1, "XXXX");
	write_task(dir, PID + 1, 2, 9, "XXXX");
	close(dir);
	load(1);
	dir = open_round(2);
	write_task(dir, PID, 1, 2, "XX..");
	write_task(dir, PID + 1, 2, 8, "..XX");
	close(dir);
	load(2);
	expect(2, "2211");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(resolve(2, PID + 1, START + i * PAGE), i < 2 ? 9 : 8);
}

/* Nothing is given up for it: the round keeps its pages. */
static void round_that_cannot_be_folded_stays(void **state)
{
	char path[64];

	(void)state;
	write_and_load(1, "XXXX");
	snprintf(path, sizeof(path), "%s/1/pages-1.img", base);
	assert_int_equal(unlink(path), 0);
	write_and_load(2, "XXXX");
	expect(2, "2222");
	assert_int_equal(pages_of(2), 4);
}

static void nothing_is_left_behind(void **state)
{
	int dir;

	(void)state;
	write_and_load(1, "XXXX");
	write_and_load(2, "XX..");
	dir = open_round(2);
	assert_int_equal(faccessat(dir, "pages-1.img", F_OK, 0), -1);
	assert_int_equal(faccessat(dir, "folding", F_OK, 0), -1);
	close(dir);
}

/* Any chain, against a model. */
static void chains_hold_what_they_held(void **state)
{
	uint64_t seed = 20261127;

	for (unsigned int chain = 0; chain < 100; chain++) {
		int held[PAGES];

		memset(held, -1, sizeof(held));
		if (chain) {
			tear_down(state);
			set_up(state);
		}
		for (unsigned int round = 1; round <= 6; round++) {
			char drawn[PAGES + 1] = "";

			for (size_t i = 0; i < PAGES; i++) {
				const uint64_t dice = next_random(&seed) % 10;

				drawn[i] = dice < 4 ? 'X' : dice < 9 && held[i] >= 0 ? '.' : ' ';
				held[i] = drawn[i] == 'X' ? (int)round : drawn[i] == '.' ? held[i] : -1;
			}
			told_first = next_random(&seed) % 3 ? 0 : next_random(&seed) % PAGES;
			told_end = next_random(&seed) % 3 ? PAGES : next_random(&seed) % PAGES;
			write_and_load(round, drawn);
			for (size_t i = 0; i < PAGES; i++)
				assert_int_equal(resolve(round, PID, START + i * PAGE), held[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pages_go_where_the_old_ones_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(new_pages_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_that_was_away_does_not_go_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_that_is_not_loaded_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(task_that_was_away_does_not_go_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(little_is_not_worth_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tasks_do_not_mix, set_up, tear_down),
		cmocka_unit_test_setup_teardown(round_that_cannot_be_folded_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_left_behind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(chains_hold_what_they_held, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
