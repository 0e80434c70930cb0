// SPDX-License-Identifier: GPL-2.0-only
/* Which areas a pool may hold, as what: read off smaps, written, read again; nothing else is believed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "land/outline.h"
#include "unit.h"

#define AREA(line, flags) line "\nRss:  4 kB\nVmFlags: " flags "\n"

static const char smaps[] = AREA("1000-2000 rw-p 00000000 00:00 0 ", "rd wr mr mw me ac sd") AREA(
	"2000-3000 rw-p 00000000 00:00 0                          [heap]",
	"rd wr mr mw me ac hg") AREA("3000-4000 rw-p 00000000 00:00 0                          [anon:a b]",
				     "rd wr mr mw me nr") AREA("4000-5000 r--p 00000000 00:00 0 ", "rd mr mw me nr hg")
	AREA("5000-6000 rw-p 00001000 fe:01 123                        /lib/a", "rd wr mr mw me ac")
		AREA("6000-7000 ---p 00000000 00:00 0 ", "mr mw me nr")
			AREA("7000-8000 rw-s 00000000 00:01 9                          /dev/zero (deleted)",
			     "rd wr sh mr mw me ms") AREA("8000-9000 rw-p 00000000 00:00 0 ", "rd wr mr mw me lo ac")
				AREA("9000-a000 rw-p 00000000 00:00 0 ", "rd wr mr mw me gd ac")
					AREA("a000-b000 rw-p 00000000 00:00 0                          [stack]",
					     "rd wr mr mw me gd ac")
						AREA("b000-c000 r-xp 00000000 00:00 0                          [vdso]",
						     "rd ex mr mw me de")
							AREA("c000-d000 rw-p 00000000 00:00 0 ", "rd wr mr mw me dp");

static const struct pool_range expected[] = {
	{ 0x1000, 0x2000, 0 },
	{ 0x2000, 0x3000, POOL_HUGEPAGE },
	{ 0x3000, 0x4000, POOL_NORESERVE },
	{ 0x4000, 0x5000, POOL_NORESERVE | POOL_HUGEPAGE },
};

#define NR_EXPECTED (sizeof(expected) / sizeof(*expected))

static int parse(const char *text, struct outline *outline)
{
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	int err = outline_parse(file, outline);

	fclose(file);
	return err;
}

static void check(const struct outline *outline)
{
	assert_int_equal(outline->nr, NR_EXPECTED);
	for (size_t i = 0; i < NR_EXPECTED; i++) {
		assert_int_equal(outline->v[i].start, expected[i].start);
		assert_int_equal(outline->v[i].end, expected[i].end);
		assert_int_equal(outline->v[i].kind, expected[i].kind);
	}
}

static void plain_private_memory_is_outlined(void **state)
{
	struct outline outline;

	(void)state;
	assert_int_equal(parse(smaps, &outline), 0);
	check(&outline);
	outline_fini(&outline);
}

static void areas_out_of_order_are_refused(void **state)
{
	struct outline outline;

	(void)state;
	assert_int_equal(parse(AREA("2000-3000 rw-p 00000000 00:00 0 ", "rd wr")
				       AREA("1000-2000 rw-p 00000000 00:00 0 ", "rd wr"),
			       &outline),
			 -EINVAL);
	assert_int_equal(outline.nr, 0);
}

static void it_is_read_as_it_was_written(void **state)
{
	char path[] = "/tmp/test_outline.XXXXXX";
	struct outline outline, again;
	int dir;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(parse(smaps, &outline), 0);
	assert_int_equal(outline_load(dir, 5, &again), -ENOENT);
	assert_int_equal(outline_write(dir, 5, &outline), 0);
	assert_int_equal(outline_write(dir, 5, &outline), -EEXIST);
	assert_int_equal(outline_load(dir, 5, &again), 0);
	check(&again);
	outline_fini(&again);
	assert_int_equal(unlinkat(dir, "outline-5.img", 0), 0);
	outline_fini(&outline);
	/* Of no area at all. */
	assert_int_equal(outline_write(dir, 5, &outline), 0);
	assert_int_equal(outline_load(dir, 5, &again), 0);
	assert_int_equal(again.nr, 0);
	assert_int_equal(unlinkat(dir, "outline-5.img", 0), 0);
	close(dir);
	assert_int_equal(rmdir(path), 0);
}

static void nothing_else_is_an_outline(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{ "\xff", 1 },
		{ "\x0a\x06\x08\x80\x20\x10\x80\x20", 8 },	    /* of no length: 0x1000-0x1000 */
		{ "\x0a\x06\x08\x81\x20\x10\x80\x40", 8 },	    /* no page's border */
		{ "\x0a\x08\x08\x80\x20\x10\x80\x40\x18\x04", 10 }, /* a kind that is not known */
		{ "\x0a\x06\x08\x80\x40\x10\x80\x60\x0a\x06\x08\x80\x20\x10\x80\x40", 16 }, /* descending */
	};
	char path[] = "/tmp/test_outline.XXXXXX";
	struct outline outline;
	int dir;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int fd = openat(dir, "outline-5.img", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		assert_int_equal(write(fd, bad[i].bytes, bad[i].len), bad[i].len);
		close(fd);
		if (outline_load(dir, 5, &outline) != -EBADMSG)
			fail_msg("number %zu", i);
		assert_int_equal(outline.nr, 0);
	}
	assert_int_equal(unlinkat(dir, "outline-5.img", 0), 0);
	assert_int_equal(mkdirat(dir, "outline-5.img", 0700), 0);
	assert_int_equal(outline_load(dir, 5, &outline), -EBADMSG);
	assert_int_equal(unlinkat(dir, "outline-5.img", AT_REMOVEDIR), 0);
	close(dir);
	assert_int_equal(rmdir(path), 0);
}

/* The kernel's own smaps, of an area whose kind is known. */
static void this_process_has_one(void **state)
{
	const size_t size = 4UL << 20;
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct outline outline;
	bool found = false;

	(void)state;
	assert_int_equal(madvise(at, size, MADV_HUGEPAGE), 0);
	assert_int_equal(outline_read(proc, &outline), 0);
	for (size_t i = 0; i < outline.nr; i++)
		found = found || (outline.v[i].start <= (uint64_t)at && outline.v[i].end >= (uint64_t)at + size &&
				  outline.v[i].kind == (POOL_NORESERVE | POOL_HUGEPAGE));
	assert_true(found);
	outline_fini(&outline);
	close(proc);
	munmap(at, size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_private_memory_is_outlined),
		cmocka_unit_test(areas_out_of_order_are_refused),
		cmocka_unit_test(it_is_read_as_it_was_written),
		cmocka_unit_test(nothing_else_is_an_outline),
		cmocka_unit_test(this_process_has_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
