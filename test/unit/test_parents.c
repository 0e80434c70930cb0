// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pagemaps of parents, in directories that are written here as CRIU would, opened as CRIU does: it gets few entries that
 * hold what the parent's own hold, and all of them where it might want more than to ask about clean pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bind/log.h"
#include "bind/parents.h"
#include "image/image.h"
#include "unit.h"

#define BASE  0x7f0000000000ul
#define PID   7
#define PAGES 4000
#define OURS  4096 /* bytes that CRIU's buffer takes at once (criu/bfd.c) */

struct criu criu;

static char root[] = "/tmp/test_parents.XXXXXX";
static uint64_t page;
static int dirs[3]; /* the new images, their parent, its parent */

/* What CRIU has read of an image when it opens the file of pages. */
struct image {
	int dir;
	int fd;
	char buffer[OURS];
	ssize_t got;
	struct stat id;
};

static void print(unsigned int level, const char *format, ...)
{
	(void)level;
	fail_msg("%s", format);
}

static uint64_t at(uint64_t number)
{
	return BASE + number * page;
}

/* Every second page has been written again, but for the last ones, which the images do not have. */
static void write_pagemap(int dir, int pid, uint64_t pages)
{
	struct image_pagemap pagemap;

	assert_int_equal(image_pagemap_open(&pagemap, dir, pid, 1), 0);
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(image_pagemap_add(&pagemap, at(i), at(i + 1),
						   i >= pages - 5 ? IMAGE_LAZY :
						   i % 2	  ? IMAGE_IN_PARENT :
								    IMAGE_PRESENT),
				 0);
	assert_int_equal(image_pagemap_close(&pagemap), 0);
}

static int begin(void **state)
{
	static const char *const names[] = { "new", "2", "1" };

	(void)state;
	page = pagescan_page_size();
	criu = (struct criu){ .print_on_level = print };
	if (!mkdtemp(root) || chdir(root))
		return -1;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mkdir(names[i], 0700), 0);
		dirs[i] = open(names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (i < 2) {
			char path[16];

			snprintf(path, sizeof(path), "../%s", names[i + 1]);
			assert_int_equal(symlinkat(path, dirs[i], CRIU_PARENT_LINK), 0);
		}
		if (i > 0)
			write_pagemap(dirs[i], PID, PAGES);
	}
	return 0;
}

static int end(void **state)
{
	char command[64];

	(void)state;
	parents_forget();
	for (int i = 0; i < 3; i++)
		close(dirs[i]);
	snprintf(command, sizeof(command), "rm -r %s", root);
	if (chdir("/") || system(command))
		return -1;
	strcpy(strrchr(root, '.'), ".XXXXXX");
	return 0;
}

static void open_pagemap(struct image *image, int dir)
{
	image->dir = dir;
	image->fd = openat(dir, "pagemap-7.img", O_RDONLY);
	assert_int_equal(fstat(image->fd, &image->id), 0);
	parents_pagemap_opened(image->fd, dir, PID);
	image->got = read(image->fd, image->buffer, OURS);
	assert_true(image->got > 0);
}

/* As open_page_read_at() does, for both parents. */
static void open_chain(struct image images[2], int flags)
{
	open_pagemap(&images[0], dirs[1]);
	open_pagemap(&images[1], dirs[2]);
	parents_pages_opened(dirs[2], flags);
	parents_pages_opened(dirs[1], flags);
}

static bool is_its_own(const struct image *image)
{
	struct stat st;

	assert_int_equal(fstat(image->fd, &st), 0);
	return st.st_dev == image->id.st_dev && st.st_ino == image->id.st_ino;
}

/* All that CRIU reads of it, by its buffer and by its descriptor. */
static struct image_entries entries_of(struct image *image)
{
	FILE *file = tmpfile();
	struct image_entries entries;
	char buf[OURS];
	ssize_t got;

	assert_int_equal(fwrite(image->buffer, 1, (size_t)image->got, file), image->got);
	while ((got = read(image->fd, buf, sizeof(buf))) > 0)
		assert_int_equal(fwrite(buf, 1, (size_t)got, file), got);
	assert_int_equal(got, 0);
	rewind(file);
	assert_int_equal(image_entries_read(fileno(file), &entries), 0);
	fclose(file);
	close(image->fd);
	return entries;
}

static void expect_short(struct image *image, bool all)
{
	struct image_entries entries;

	assert_false(is_its_own(image));
	assert_int_equal(fcntl(image->fd, F_GETFD), 0);
	entries = entries_of(image);
	assert_in_range(entries.nr, 2, PAGES / 8);
	assert_int_equal(image_entries_cover(&entries, at(0), at(PAGES - 5)), all);
	for (size_t i = 0; i < entries.nr; i++)
		assert_true(entries.v[i].end <= at(PAGES - 5));
	image_entries_fini(&entries);
}

static void expect_whole(struct image *image)
{
	struct image_entries entries;

	assert_true(is_its_own(image));
	entries = entries_of(image);
	assert_int_equal(entries.nr, PAGES - 4);
	image_entries_fini(&entries);
}

static void few_entries_hold_the_same(void **state)
{
	struct image images[2];

	(void)state;
	parents_read(dirs[0]);
	parents_expect(PID);
	open_chain(images, O_RDONLY);
	expect_short(&images[0], true);
	expect_short(&images[1], false);
	/* Once: another chain is not asked about clean pages. */
	open_chain(images, O_RDONLY);
	expect_whole(&images[0]);
	expect_whole(&images[1]);
}

/* Criu opens the chain of PID by these flags while that of @pid is expected. */
static void expect_whole_chain(int pid, int flags)
{
	struct image images[2];

	parents_read(dirs[0]);
	parents_expect(pid);
	open_chain(images, flags);
	expect_whole(&images[0]);
	expect_whole(&images[1]);
}

static void all_where_pages_are_to_be_removed(void **state)
{
	(void)state;
	expect_whole_chain(PID, O_RDWR);
}

static void all_where_it_is_another_chain(void **state)
{
	struct image image;

	(void)state;
	expect_whole_chain(PID + 1, O_RDONLY);

	/* Pages of another directory. */
	parents_expect(PID);
	open_pagemap(&image, dirs[1]);
	parents_pages_opened(dirs[2], O_RDONLY);
	parents_pages_opened(dirs[1], O_RDONLY);
	expect_whole(&image);

	/* A pagemap that nobody has read. */
	parents_forget();
	parents_expect(PID);
	open_pagemap(&image, dirs[1]);
	parents_pages_opened(dirs[1], O_RDONLY);
	expect_whole(&image);
}

/* What fits into CRIU's buffer is not worth it. */
static void a_short_one_stays(void **state)
{
	struct image image;

	(void)state;
	assert_int_equal(unlinkat(dirs[1], "pagemap-7.img", 0), 0);
	write_pagemap(dirs[1], PID, 20);
	parents_read(dirs[0]);
	parents_expect(PID);
	open_pagemap(&image, dirs[1]);
	parents_pages_opened(dirs[1], O_RDONLY);
	assert_true(is_its_own(&image));
	close(image.fd);
}

/* The entries are those of the file that is there, read once. */
static void what_was_read_before_has_to_be_the_same(void **state)
{
	const struct image_entries *first, *again, *other;

	(void)state;
	assert_int_equal(parents_entries(dirs[0], PID + 1, &first), -ENOENT);
	parents_read(dirs[0]);
	assert_int_equal(parents_entries(dirs[0], PID, &first), 0);
	assert_int_equal(parents_entries(dirs[0], PID, &again), 0);
	assert_ptr_equal(first, again);
	assert_int_equal(first->nr, 1);
	assert_true(image_entries_cover(first, at(0), at(PAGES - 5)));
	assert_int_equal(unlinkat(dirs[1], "pagemap-7.img", 0), 0);
	write_pagemap(dirs[1], PID, PAGES + 2);
	assert_int_equal(parents_entries(dirs[0], PID, &other), 0);
	assert_true(image_entries_cover(other, at(0), at(PAGES - 3)));
	assert_int_equal(truncate("2/pagemap-7.img", 100), 0);
	assert_int_equal(parents_entries(dirs[0], PID, &other), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(few_entries_hold_the_same, begin, end),
		cmocka_unit_test_setup_teardown(all_where_pages_are_to_be_removed, begin, end),
		cmocka_unit_test_setup_teardown(all_where_it_is_another_chain, begin, end),
		cmocka_unit_test_setup_teardown(a_short_one_stays, begin, end),
		cmocka_unit_test_setup_teardown(what_was_read_before_has_to_be_the_same, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
