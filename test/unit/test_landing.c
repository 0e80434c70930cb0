// SPDX-License-Identifier: GPL-2.0-only
/*
 * What preadv(2) of a landing does not read: only pages that are here, of the round that the file is of, at the address
 * and offset that they were read from; and rounds that are not loaded. The landing is made by hand, as if one area had been placed; what is held ready
 * differs from the file, so that what was read shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image.h"
#include "land/landing.h"
#include "land/outline.h"
#include "unit.h"

#define PAGES 4
#define START 0x7f0000400000ul
#define HELD  'h'
#define FILED 'f'

static size_t page;

struct fixture {
	struct landing landing;
	struct landing_task task;
	struct landing_area area;
	struct landing_source source;
	struct image_run run;
	unsigned char *memory;
	int fd;
};

static int set_up(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;
	char path[] = "/tmp/test_landing.XXXXXX";
	struct pool_task *pool;
	struct stat st;

	*f = (struct fixture){ .fd = mkstemp(path) };
	page = (size_t)sysconf(_SC_PAGESIZE);
	unlink(path);
	f->memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(f->memory, FILED, PAGES * page);
	assert_int_equal(write(f->fd, f->memory, PAGES * page), PAGES * page);
	memset(f->memory, HELD, PAGES * page);
	assert_int_equal(fstat(f->fd, &st), 0);

	f->run = (struct image_run){ .start = START, .end = START + PAGES * page };
	f->source = (struct landing_source){ 7, 2, st.st_dev, st.st_ino, { .v = &f->run, .nr = 1 } };
	f->area = (struct landing_area){ .image = { .start = START, .end = START + PAGES * page },
					 .size = PAGES * page,
					 .plain = true,
					 .placed = true };
	f->task = (struct landing_task){ 7, true, &f->area, 1, 1, PAGES * page, (uint64_t)f->memory };
	f->landing = (struct landing){
		.rounds = 2, .sources = &f->source, .nr_sources = 1, .tasks = &f->task, .nr_tasks = 1
	};
	f->landing.mark = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(madvise(f->landing.mark, page, MADV_WIPEONFORK), 0);
	*f->landing.mark = 1;
	pool = pool_task(&f->landing.pool, 7, true);
	assert_int_equal(pool_map(pool, START, START + PAGES * page, 0), 0);
	assert_int_equal(pool_set_round(pool, START, START + PAGES * page, 2), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	pool_fini(&f->landing.pool);
	munmap(f->landing.mark, page);
	munmap(f->memory, PAGES * page);
	close(f->fd);
	return 0;
}

/* Ask for the @nr pages from the @first on, at @offset of the file; returns how many of them were not read. */
static size_t ask(struct fixture *f, size_t first, size_t nr, size_t offset)
{
	const struct iovec vec = { f->memory + first * page, nr * page };
	uint64_t spared = 0;

	assert_int_equal(landing_preadv(&f->landing, 7, f->fd, &vec, 1, (off_t)offset, &spared), nr * page);
	for (size_t i = 0; i < nr * page; i++)
		spared -= f->memory[first * page + i] == HELD;
	assert_int_equal(spared, 0);
	for (size_t i = 0; i < nr * page; i++)
		spared += f->memory[first * page + i] == HELD;
	return spared / page;
}

static struct pool_task *pool_of(struct fixture *f)
{
	return pool_task(&f->landing.pool, 7, false);
}

static void held_pages_are_not_read(void **state)
{
	assert_int_equal(ask(*state, 0, PAGES, 0), PAGES);
	assert_int_equal(ask(*state, 2, 1, 2 * page), 1);
}

static void page_of_another_round_is_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pool_set_round(pool_of(f), START + page, START + 2 * page, 1), 0);
	assert_int_equal(ask(f, 0, PAGES, 0), PAGES - 1);
	assert_int_equal(f->memory[page], FILED);
}

static void dropped_page_is_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pool_set_round(pool_of(f), START + page, START + 3 * page, 0), 0);
	assert_int_equal(ask(f, 0, PAGES, 0), PAGES - 2);
}

static void another_offset_is_read(void **state)
{
	assert_int_equal(ask(*state, 1, 2, 0), 0);
}

static void another_file_is_read(void **state)
{
	struct fixture *f = *state;

	f->source.ino++;
	assert_int_equal(ask(f, 0, PAGES, 0), 0);
}

static void area_that_is_not_placed_is_read(void **state)
{
	struct fixture *f = *state;

	f->area.placed = false;
	assert_int_equal(ask(f, 0, PAGES, 0), 0);
}

/* Where a fork was not told of, pages may not have been inherited. */
static void unknown_child_reads_all(void **state)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		_exit((int)ask(*state, 0, PAGES, 0));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void verify_finds_a_page_that_differs(void **state)
{
	struct fixture *f = *state;
	const struct iovec vec = { f->memory, page };
	uint64_t spared = 0;

	f->landing.verify = true;
	errno = 0;
	assert_int_equal(landing_preadv(&f->landing, 7, f->fd, &vec, 1, 0, &spared), -1);
	assert_int_equal(errno, EUCLEAN);
	memset(f->memory, FILED, page);
	assert_int_equal(landing_preadv(&f->landing, 7, f->fd, &vec, 1, 0, &spared), page);
	assert_int_equal(spared, page);
}

/* A round of one task in @dir: an area, its pages, and how long their file is. */
static void make_round(int dir, uint32_t flags, size_t bytes)
{
	struct pool_range area = { START, START + PAGES * page, 0 };
	const struct outline outline = { &area, 1 };
	struct image_pagemap pagemap;
	int fd;

	(void)unlinkat(dir, "pagemap-7.img", 0);
	(void)outline_write(dir, 7, &outline);
	assert_int_equal(image_pagemap_open(&pagemap, dir, 7, 1), 0);
	assert_int_equal(image_pagemap_add(&pagemap, START, START + PAGES * page, flags), 0);
	assert_int_equal(image_pagemap_close(&pagemap), 0);
	fd = openat(dir, "pages-1.img", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

/* Where pages may lie in another way than one after the other none are held ready. */
static void rounds_that_do_not_add_up_are_not_loaded(void **state)
{
	char path[] = "/tmp/test_landing.XXXXXX", command[64];
	int dir = open(mkdtemp(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct landing landing = { 0 };
	struct reason why = { "" };
	uint64_t held;

	(void)state;
	page = (size_t)sysconf(_SC_PAGESIZE);
	for (size_t pages = PAGES - 1; pages <= PAGES + 1; pages += 2) {
		make_round(dir, IMAGE_PRESENT, pages * page);
		assert_int_equal(landing_load(&landing, path, &held, &why), -EBADMSG);
		assert_non_null(strstr(why.text, "has not the length it tells"));
	}
	make_round(dir, IMAGE_PRESENT | 8, PAGES * page);
	assert_int_equal(landing_load(&landing, path, &held, &why), -EOPNOTSUPP);
	assert_non_null(strstr(why.text, "features that are not known here"));
	make_round(dir, IMAGE_PRESENT, PAGES * page);
	assert_int_equal(landing_load(&landing, path, &held, &why), 0);
	assert_int_equal(held, PAGES * page);
	landing_fini(&landing);
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(held_pages_are_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_of_another_round_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(dropped_page_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_offset_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_file_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(area_that_is_not_placed_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_child_reads_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(verify_finds_a_page_that_differs, set_up, tear_down),
		cmocka_unit_test(rounds_that_do_not_add_up_are_not_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
