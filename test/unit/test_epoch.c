// SPDX-License-Identifier: GPL-2.0-only
/* pagescan.img: what was written is read again, and nothing that a file may hold makes a wrong record current. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagescan.pb-c.h"
#include "track/epoch.h"
#include "unit.h"

static int dir;
static uint8_t bytes[4096];
static size_t len;

static const struct epoch_record records[] = {
	{ 1234, 5678, { "abcdefghijklmno", 3 } },
	{ 99, 1UL << 40, { { 0 }, UINT64_MAX } },
};

/* The file as it is, into @bytes. */
static void load(void)
{
	int fd = openat(dir, EPOCH_IMAGE, O_RDONLY);

	len = (size_t)read(fd, bytes, sizeof(bytes));
	close(fd);
}

static int set_up(void **state)
{
	struct epoch_image image = { 0 };
	char path[] = "/tmp/test_epoch.XXXXXX";

	(void)state;
	dir = open(mkdtemp(path), O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < 2; i++)
		epoch_image_add(&image, &records[i]);
	if (epoch_image_write(dir, &image, NULL))
		return -1;
	epoch_image_fini(&image);
	load();
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

static bool same_epoch(const struct epoch *a, const struct epoch *b)
{
	return a->number == b->number && !memcmp(a->tracker, b->tracker, TRACKER_ID_SIZE);
}

static bool same(const struct epoch_record *a, const struct epoch_record *b)
{
	return a->pid == b->pid && a->start_time == b->start_time && same_epoch(&a->epoch, &b->epoch);
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
					    !same_epoch(&image.v[r].epoch, &records[0].epoch) ||
					    image.v[r].pid != records[0].pid ||
					    image.v[r].start_time != records[0].start_time);
		}
		epoch_image_fini(&image);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

static void each_part_decides(void **state)
{
	struct epoch_image image = { (struct epoch_record *)records, 1 };
	struct identity id = { .pid = records[0].pid, .start_time = records[0].start_time };

	(void)state;
	assert_non_null(epoch_image_find(&image, &id));
	id.pid++;
	assert_null(epoch_image_find(&image, &id));
}

/* No byte of a record can be another one and the record still count for its task and its epoch. */
static void no_byte_of_a_record_is_idle(void **state)
{
	const struct identity id = { .pid = records[0].pid, .start_time = records[0].start_time };
	struct epoch_image image = { 0 };
	uint8_t *copy;

	(void)state;
	epoch_image_add(&image, &records[0]);
	assert_int_equal(epoch_image_write(dir, &image, NULL), 0);
	epoch_image_fini(&image);
	load();
	copy = malloc(len); /* of just this size, for the sanitizers */
	for (size_t i = 0; i < len; i++) {
		for (int flip = 1; flip < 256; flip++) {
			const struct epoch_record *found = NULL;

			memcpy(copy, bytes, len);
			copy[i] ^= (uint8_t)flip;
			if (!epoch_image_parse(copy, len, &image, NULL))
				found = epoch_image_find(&image, &id);
			if (found && same_epoch(&found->epoch, &records[0].epoch))
				fail_msg("byte %zu: %02x may be %02x", i, bytes[i], copy[i]);
			epoch_image_fini(&image);
		}
	}
	free(copy);
	for (size_t cut = 0; cut < len; cut++) {
		copy = malloc(cut + 1);
		memcpy(copy + 1, bytes, cut);
		assert_true(epoch_image_parse(copy + 1, cut, &image, NULL) == -EBADMSG || !image.nr);
		epoch_image_fini(&image);
		free(copy);
	}
}

/* Well-formed, and yet not to be believed: a good record comes first, and is not to be believed either. */
static void records_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint32_t version, pid;
		size_t tracker;
		int err;
	} images[] = {
		{ 1, 7, 16, 0 },	{ 1, INT32_MAX, 16, 0 }, { 1, UINT32_MAX, 16, -EBADMSG },
		{ 1, 7, 15, -EBADMSG }, { 1, 7, 17, -EBADMSG },	 { 1, 7, 0, -EBADMSG },
		{ 2, 7, 16, -EBADMSG }, { 0, 7, 16, -EBADMSG },	 { 1, 1U << 31, 16, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(images) / sizeof(*images); i++) {
		uint8_t tracker[17] = "0123456789abcdef", packed[256] = "PAGESCAN";
		Pagescan__Task good = PAGESCAN__TASK__INIT, task = PAGESCAN__TASK__INIT, *tasks[] = { &good, &task };
		Pagescan__Image message = PAGESCAN__IMAGE__INIT;
		struct epoch_image image;
		struct reason why = { "" };

		good.tracker = (ProtobufCBinaryData){ 16, tracker };
		task.pid = images[i].pid;
		task.tracker = (ProtobufCBinaryData){ images[i].tracker, tracker };
		message.version = images[i].version;
		message.n_tasks = 2;
		message.tasks = tasks;
		assert_int_equal(epoch_image_parse(packed, 8 + pagescan__image__pack(&message, packed + 8), &image,
						   &why),
				 images[i].err);
		assert_int_equal(image.nr, images[i].err ? 0 : 2);
		assert_int_equal(why.text[0] != '\0', images[i].err != 0);
		epoch_image_fini(&image);
	}
}

static void what_is_no_such_file_is_refused_with_a_reason(void **state)
{
	struct epoch_image image;
	struct reason why;
	int fd;

	(void)state;
	assert_int_equal(epoch_image_read(dir, "none", &image, &why), -ENOENT);
	mkdirat(dir, "directory", 0700);
	assert_int_equal(epoch_image_read(dir, "directory", &image, &why), -EBADMSG);
	mkfifoat(dir, "fifo", 0600);
	assert_int_equal(epoch_image_read(dir, "fifo", &image, &why), -EBADMSG);
	close(openat(dir, "empty", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(epoch_image_read(dir, "empty", &image, &why), -EBADMSG);
	assert_true(why.text[0]);
	fd = openat(dir, EPOCH_IMAGE, O_WRONLY);
	assert_int_equal(ftruncate(fd, (64 << 20) + 1), 0);
	close(fd);
	assert_int_equal(epoch_image_read(dir, EPOCH_IMAGE, &image, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "size"));
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

/* Who has the old file open goes on reading that one, to its end. */
static void the_old_file_is_not_touched(void **state)
{
	int fd = openat(dir, EPOCH_IMAGE, O_RDONLY);
	struct epoch_image image = { 0 };
	uint8_t was[sizeof(bytes)];
	struct stat st;

	(void)state;
	epoch_image_add(&image, &records[1]);
	assert_int_equal(epoch_image_write(dir, &image, NULL), 0);
	assert_int_equal(pread(fd, was, sizeof(was), 0), len);
	assert_memory_equal(was, bytes, len);
	assert_int_equal(fstatat(dir, EPOCH_IMAGE, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	epoch_image_fini(&image);
	close(fd);
}

static void a_write_that_fails_leaves_the_old_file(void **state)
{
	const struct rlimit small = { 20, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
	struct epoch_image image = { (struct epoch_record *)records, 2 };
	const size_t was = len;
	struct reason why = { "" };
	struct stat st;
	int err;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small); /* as on a full disk: some bytes fit */
	err = epoch_image_write(dir, &image, &why);
	setrlimit(RLIMIT_FSIZE, &all);
	assert_int_equal(err, -EFBIG);
	assert_true(why.text[0]);
	assert_int_equal(fstatat(dir, EPOCH_IMAGE ".tmp", &st, AT_SYMLINK_NOFOLLOW), -1);
	load();
	assert_int_equal(len, was);

	if (!geteuid()) {
		assert_int_equal(seteuid(65534), 0);
		err = epoch_image_write(dir, &image, &why);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(err, -EACCES);
	}
	unlinkat(dir, EPOCH_IMAGE, 0);
	mkdirat(dir, EPOCH_IMAGE, 0700);
	assert_true(epoch_image_write(dir, &image, &why) < 0);
}

int main(void)
{
#define IN_DIR(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		IN_DIR(what_was_written_is_read),
		IN_DIR(a_damaged_file_never_holds_another_current_record),
		IN_DIR(each_part_decides),
		IN_DIR(no_byte_of_a_record_is_idle),
		IN_DIR(records_that_cannot_be_are_refused),
		IN_DIR(what_is_no_such_file_is_refused_with_a_reason),
		IN_DIR(writing_replaces_whole_and_follows_no_link),
		IN_DIR(the_old_file_is_not_touched),
		IN_DIR(a_write_that_fails_leaves_the_old_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
