// SPDX-License-Identifier: GPL-2.0-only
/* A runtime's restore has its directory from the begin, and goes on only if what it read there early was right. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/container.h"
#include "unit.h"

static char path[] = "/tmp/test_container_last.XXXXXX";
static int dir;

static int set_up(void **state)
{
	(void)state;
	strcpy(path, "/tmp/test_container_last.XXXXXX");
	dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return dir < 0 || mkdirat(dir, "1", 0700) || mkdirat(dir, "2", 0700);
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", path);
	return system(command);
}

static void put(const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static bool same_when(const char *early, const char *late)
{
	bool same;

	put("1/descriptors.json", early);
	put("2/descriptors.json", late);
	assert_int_equal(container_begin_last(dir), 0);
	assert_int_equal(container_complete_last(dir, "2", &same), 0);
	return same;
}

static void what_the_first_round_says_is_there_early(void **state)
{
	(void)state;
	put("1/descriptors.json", "[\"/dev/null\"]");
	assert_int_equal(container_begin_last(dir), 0);
	assert_int_equal(faccessat(dir, "last/descriptors.json", R_OK, 0), 0);
}

static void a_first_round_that_says_nothing_is_no_begin(void **state)
{
	(void)state;
	assert_int_equal(container_begin_last(dir), -ENOENT);
}

static void the_last_images_come_into_it_and_keep_their_parent(void **state)
{
	char target[16] = "";
	struct stat before, after;

	(void)state;
	put("1/descriptors.json", "[]");
	assert_int_equal(container_begin_last(dir), 0);
	assert_int_equal(fstatat(dir, "last", &before, 0), 0);
	put("2/descriptors.json", "[]");
	put("2/inventory.img", "x");
	assert_int_equal(symlinkat("../1", dir, "2/parent"), 0);
	assert_int_equal(container_complete_last(dir, "2", &(bool){ false }), 0);
	assert_int_equal(fstatat(dir, "last", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(faccessat(dir, "last/inventory.img", R_OK, 0), 0);
	assert_int_equal(faccessat(dir, "last/parent/descriptors.json", R_OK, 0), 0);
	assert_int_equal(readlinkat(dir, "2", target, sizeof(target) - 1), 4);
	assert_string_equal(target, "last");
}

static void without_a_begin_they_come_as_well(void **state)
{
	(void)state;
	put("2/inventory.img", "x");
	assert_int_equal(container_complete_last(dir, "2", &(bool){ false }), 0);
	assert_int_equal(faccessat(dir, "last/inventory.img", R_OK, 0), 0);
}

static void other_files_are_the_same_for_a_restore(void **state)
{
	(void)state;
	assert_true(same_when("[\"/dev/null\",\"pipe:[7]\",\"\"]", "[\"/\",\"pipe:[7]\",\"/dev/null\"]"));
}

static void another_pipe_is_not(void **state)
{
	(void)state;
	assert_false(same_when("[\"/dev/null\",\"pipe:[7]\",\"\"]", "[\"/dev/null\",\"pipe:[8]\",\"\"]"));
}

static void nor_one_more_or_less(void **state)
{
	(void)state;
	assert_false(same_when("[\"/dev/null\"]", "[\"/dev/null\",\"pipe:[8]\"]"));
}

static void nor_what_is_no_list(void **state)
{
	(void)state;
	assert_false(same_when("[]", "{"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_the_first_round_says_is_there_early),
		TEST(a_first_round_that_says_nothing_is_no_begin),
		TEST(the_last_images_come_into_it_and_keep_their_parent),
		TEST(without_a_begin_they_come_as_well),
		TEST(other_files_are_the_same_for_a_restore),
		TEST(another_pipe_is_not),
		TEST(nor_one_more_or_less),
		TEST(nor_what_is_no_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
