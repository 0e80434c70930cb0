// SPDX-License-Identifier: GPL-2.0-only
/*
 * What CRIU is not told of a dump, in a directory of images that are written here as CRIU would: only what is clean and
 * in the parent is omitted, all of it is there afterwards, and where it cannot be there the images are not called complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bind/log.h"
#include "bind/omit.h"
#include "bind/parents.h"
#include "image/entries.h"
#include "image/image.h"
#include "unit.h"

#define BASE  0x7f0000000000ul
#define PID   7
#define CLEAN PAGESCAN_PRESENT
#define DIRTY (PAGESCAN_PRESENT | PAGESCAN_SOFT_DIRTY)

struct criu criu;

static char root[] = "/tmp/test_omit.XXXXXX";
static uint64_t page;
static int dir;
static bool left_to_parent;
static unsigned long scanned, skipped;
static struct image_pagemap pagemap; /* what CRIU writes */

static bool page_in_parent(bool dirty)
{
	return left_to_parent && !dirty;
}

static void cnt_add(int counter, unsigned long number)
{
	*(counter == CRIU_PAGES_SCANNED ? &scanned : &skipped) += number;
}

static void print(unsigned int level, const char *format, ...)
{
	(void)level;
	(void)format;
}

static uint64_t at(uint64_t number)
{
	return BASE + number * page;
}

static struct pagescan_region region(uint64_t first, uint64_t nr, uint64_t categories)
{
	return (struct pagescan_region){ at(first), at(first + nr), categories };
}

/* An image directory whose parent has pages 0 to 99. */
static int begin(void **state)
{
	struct image_pagemap parent;
	int parent_dir;

	(void)state;
	page = pagescan_page_size();
	criu = (struct criu){ .page_in_parent = page_in_parent, .cnt_add = cnt_add, .print_on_level = print };
	left_to_parent = true;
	scanned = skipped = 0;
	if (!mkdtemp(root))
		return -1;
	dir = open(root, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(dir, CRIU_PARENT_LINK, 0700), 0);
	parent_dir = openat(dir, CRIU_PARENT_LINK, O_RDONLY | O_DIRECTORY);
	assert_int_equal(image_pagemap_open(&parent, parent_dir, PID, 1), 0);
	assert_int_equal(image_pagemap_add(&parent, at(0), at(60), IMAGE_PRESENT), 0);
	assert_int_equal(image_pagemap_add(&parent, at(60), at(100), IMAGE_IN_PARENT), 0);
	assert_int_equal(image_pagemap_close(&parent), 0);
	close(parent_dir);
	return image_pagemap_open(&pagemap, dir, PID, 2);
}

static int end(void **state)
{
	char command[64];

	(void)state;
	omit_forget();
	parents_forget();
	image_pagemap_close(&pagemap);
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", root);
	if (system(command))
		return -1;
	strcpy(strrchr(root, '.'), ".XXXXXX");
	return 0;
}

static int begin_omitting(void)
{
	return omit_begin(dir, fileno(pagemap.file), PID);
}

/* CRIU closes its file with this one entry. */
static void written(uint64_t first, uint64_t nr)
{
	assert_int_equal(image_pagemap_add(&pagemap, at(first), at(first + nr), IMAGE_PRESENT), 0);
	assert_int_equal(image_pagemap_close(&pagemap), 0);
}

static bool image_has(uint64_t first, uint64_t nr)
{
	int fd = openat(dir, "pagemap-7.img", O_RDONLY);
	struct image_entries entries;
	bool has;

	assert_int_equal(image_entries_read(fd, &entries), 0);
	has = image_entries_cover(&entries, at(first), at(first + nr));
	image_entries_fini(&entries);
	close(fd);
	return has;
}

static void only_what_is_clean_and_in_the_parent(void **state)
{
	struct pagescan_region vec[] = {
		region(0, 10, CLEAN),
		region(10, 2, DIRTY),
		region(12, 1, CLEAN | PAGESCAN_GUARD),
		region(20, 10, PAGESCAN_SWAPPED),
		region(90, 20, CLEAN),
		region(110, 5, CLEAN),
	};

	(void)state;
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID + 1, vec, 6), 6);
	assert_int_equal(omit_clean(PID, vec, 6), 4);
	assert_int_equal(vec[0].start, at(10));
	assert_int_equal(vec[1].start, at(12));
	assert_int_equal(vec[2].start, at(90));
	assert_int_equal(vec[3].start, at(110));
	written(10, 2);
	assert_int_equal(omit_complete(dir), 0);
	assert_true(image_has(0, 12) && image_has(20, 10));
	assert_false(image_has(12, 1) || image_has(30, 1) || image_has(90, 1) || image_has(110, 1));
	assert_int_equal(scanned, 20);
	assert_int_equal(skipped, 20);
}

/* The second time in other pieces, and earlier ones last. */
static void what_was_asked_twice_is_there_once(void **state)
{
	struct pagescan_region first[] = { region(40, 20, CLEAN) };
	struct pagescan_region second[] = { region(20, 30, CLEAN), region(55, 10, CLEAN) };
	struct pagescan_region third[] = { region(0, 5, CLEAN) };

	(void)state;
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID, first, 1), 0);
	assert_int_equal(omit_clean(PID, second, 2), 0);
	assert_int_equal(omit_clean(PID, third, 1), 0);
	written(70, 1);
	assert_int_equal(omit_complete(dir), 0);
	assert_true(image_has(0, 5) && image_has(20, 45) && image_has(70, 1));
	assert_int_equal(skipped, 50);
	assert_int_equal(omit_complete(dir), 0);
	assert_int_equal(skipped, 50);
}

static void nothing_if_criu_would_dump_all(void **state)
{
	struct pagescan_region vec[] = { region(0, 10, CLEAN) };

	(void)state;
	left_to_parent = false;
	assert_int_not_equal(begin_omitting(), 0);
	criu.page_in_parent = NULL;
	assert_int_not_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID, vec, 1), 1);
	criu.page_in_parent = page_in_parent;
	left_to_parent = true;
	assert_int_equal(unlinkat(dir, CRIU_PARENT_LINK "/pagemap-7.img", 0), 0);
	assert_int_equal(begin_omitting(), -ENOENT);
	assert_int_equal(omit_clean(PID, vec, 1), 1);
}

/* An image that is begun anew: what was omitted from it before is not in this one's. */
static void what_was_omitted_before_is_forgotten(void **state)
{
	struct pagescan_region before[] = { region(0, 10, CLEAN) }, now[] = { region(20, 10, CLEAN) };

	(void)state;
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID, before, 1), 0);
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID, now, 1), 0);
	written(40, 1);
	assert_int_equal(omit_complete(dir), 0);
	assert_true(image_has(20, 10));
	assert_false(image_has(0, 1));
}

static void no_inventory_of_before_stays(void **state)
{
	(void)state;
	assert_int_equal(image_write_inventory(dir, 1), 0);
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(faccessat(dir, CRIU_INVENTORY, F_OK, 0), -1);
}

static void files_that_are_not_criu_s_are_not_completed(void **state)
{
	struct pagescan_region vec[] = { region(0, 10, CLEAN) };

	(void)state;
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID, vec, 1), 0);
	fflush(pagemap.file);
	assert_int_equal(omit_complete(dir), -EBUSY); /* CRIU goes on writing */
	written(40, 1);
	assert_int_equal(renameat(dir, "pagemap-7.img", dir, "away"), 0);
	assert_int_equal(omit_complete(dir), -ENOENT);
	close(openat(dir, "pagemap-7.img", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(omit_complete(dir), -ESTALE);
	assert_int_equal(renameat(dir, "away", dir, "pagemap-7.img"), 0);
	assert_int_equal(omit_complete(dir), 0);
	assert_true(image_has(0, 10) && image_has(40, 1));
}

static void an_image_that_was_cut_off_is_not_completed(void **state)
{
	struct pagescan_region vec[] = { region(0, 10, CLEAN) };
	int fd;

	(void)state;
	assert_int_equal(begin_omitting(), 0);
	assert_int_equal(omit_clean(PID, vec, 1), 0);
	written(40, 1);
	fd = openat(dir, "pagemap-7.img", O_WRONLY);
	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 1), 0);
	close(fd);
	assert_int_equal(omit_complete(dir), -EBADMSG);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIRECTORY(only_what_is_clean_and_in_the_parent),
		IN_DIRECTORY(what_was_asked_twice_is_there_once),
		IN_DIRECTORY(nothing_if_criu_would_dump_all),
		IN_DIRECTORY(what_was_omitted_before_is_forgotten),
		IN_DIRECTORY(no_inventory_of_before_stays),
		IN_DIRECTORY(files_that_are_not_criu_s_are_not_completed),
		IN_DIRECTORY(an_image_that_was_cut_off_is_not_completed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
