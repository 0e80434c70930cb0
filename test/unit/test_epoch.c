// SPDX-License-Identifier: GPL-2.0-only
/* pagescan.img: what was written is read again, and nothing that a file may hold makes a wrong record current. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "track/epoch.h"
#include "unit.h"

static int dir;
static uint8_t bytes[4096];
static size_t len;

static const struct epoch_record records[] = {
	{ 1234, 5678, { "abcdefghijklmno", 3 } },
	{ 99, 1UL << 40, { { 0 }, UINT64_MAX } },
};

static int set_up(void **state)
{
	struct epoch_image image = { 0 };
	char path[] = "/tmp/test_epoch.XXXXXX";
	int fd;

	(void)state;
	dir = open(mkdtemp(path), O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < 2; i++)
		epoch_image_add(&image, &records[i]);
	if (epoch_image_write(dir, &image, NULL))
		return -1;
	epoch_image_fini(&image);
	fd = openat(dir, EPOCH_IMAGE, O_RDONLY);
	len = (size_t)read(fd, bytes, sizeof(bytes));
	close(fd);
	return 0;
}

static int tear_down(void **state)
{
	char path[64], command[160];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	snprintf(command, sizeof(command), "rm -r \"$(readlink /proc/%d/fd/%d)\"", getpid(), dir);
	return system(command) || close(dir);
}

static bool same(const struct epoch_record *a, const struct epoch_record *b)
{
	return a->pid == b->pid && a->start_time == b->start_time && epoch_equal(&a->epoch, &b->epoch);
}

static void what_was_written_is_read(void **state)
{
	const struct identity id = { .pid = 99, .start_time = 1UL << 40, .stack = 5 };
	struct identity other = id;
	struct epoch_image image;

	(void)state;
	assert_int_equal(epoch_image_read(dir, EPOCH_IMAGE, &image, NULL), 0);
	assert_int_equal(image.nr, 2);
	assert_true(same(&image.v[0], &records[0]) && same(&image.v[1], &records[1]));
	assert_ptr_equal(epoch_image_find(&image, &id), &image.v[1]);
	other.start_time++;
	assert_null(epoch_image_find(&image, &other));
	epoch_image_fini(&image);
}

static void a_damaged_file_never_holds_another_current_record(void **state)
{
	struct epoch_image image;
	struct reason why;

	(void)state;
	for (size_t cut = 0; cut < len; cut++) {
		why.text[0] = '\0';
		if (epoch_image_parse(bytes, cut, &image, &why))
			assert_true(why.text[0]);
		for (size_t i = 0; i < image.nr; i++)
			assert_true(same(&image.v[i], &records[i])); /* cut between two records */
		epoch_image_fini(&image);
	}
	for (size_t i = 0; i < len * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		/* Whatever is flipped: a record that parses is one of ours unharmed, or matches no tracker or task. */
		if (!epoch_image_parse(bytes, len, &image, &why)) {
			for (size_t r = 0; r < image.nr; r++)
				assert_true(same(&image.v[r], &records[0]) || same(&image.v[r], &records[1]) ||
					    !epoch_equal(&image.v[r].epoch, &records[0].epoch) ||
					    image.v[r].pid != records[0].pid ||
					    image.v[r].start_time != records[0].start_time);
		}
		epoch_image_fini(&image);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

static void what_is_no_such_file_is_refused_with_a_reason(void **state)
{
	struct epoch_image image;
	struct reason why;

	(void)state;
	assert_int_equal(epoch_image_read(dir, "none", &image, &why), -ENOENT);
	mkdirat(dir, "directory", 0700);
	assert_int_equal(epoch_image_read(dir, "directory", &image, &why), -EBADMSG);
	mkfifoat(dir, "fifo", 0600);
	assert_int_equal(epoch_image_read(dir, "fifo", &image, &why), -EBADMSG);
	close(openat(dir, "empty", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(epoch_image_read(dir, "empty", &image, &why), -EBADMSG);
	assert_true(why.text[0]);
}

/* A temporary file of a killed run, or a link in its place that leads elsewhere. */
static void writing_replaces_whole_and_follows_no_link(void **state)
{
	struct epoch_image image = { 0 }, got;
	struct stat st;

	(void)state;
	assert_int_equal(symlinkat("victim", dir, EPOCH_IMAGE ".tmp"), 0);
	epoch_image_add(&image, &records[1]);
	assert_int_equal(epoch_image_write(dir, &image, NULL), 0);
	assert_int_equal(fstatat(dir, "victim", &st, 0), -1);
	assert_int_equal(fstatat(dir, EPOCH_IMAGE ".tmp", &st, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(epoch_image_read(dir, EPOCH_IMAGE, &got, NULL), 0);
	assert_int_equal(got.nr, 1);
	epoch_image_fini(&image);
	epoch_image_fini(&got);
}

int main(void)
{
#define IN_DIR(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		IN_DIR(what_was_written_is_read),
		IN_DIR(a_damaged_file_never_holds_another_current_record),
		IN_DIR(what_is_no_such_file_is_refused_with_a_reason),
		IN_DIR(writing_replaces_whole_and_follows_no_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
