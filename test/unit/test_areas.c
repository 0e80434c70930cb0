// SPDX-License-Identifier: GPL-2.0-only
/* What is read off a line of maps: which areas there are, which are a file's, which may be tracked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scan/areas.h"
#include "unit.h"

static const struct {
	const char *line;
	bool file, trackable, vdso;
} lines[] = {
	{ "1000-2000 rw-p 00000000 00:00 0 ", false, true, false },
	{ "2000-3000 rw-p 00000000 00:00 0                          [heap]", false, true, false },
	{ "3000-4000 rw-p 00000000 00:00 0                          [anon:my pool]", false, true, false },
	{ "4000-5000 r--p 00001000 fe:01 123                        /usr/lib/a b.so", true, true, false },
	{ "5000-6000 rw-p 00000000 00:01 5                          /memfd:x (deleted)", true, true, false },
	{ "6000-7000 ---p 00000000 00:00 0 ", false, false, false },
	{ "7000-8000 rw-s 00000000 00:01 7                          /dev/zero (deleted)", true, false, false },
	{ "8000-9000 rw-p 00000000 00:11 8                          /[aio] (deleted)", true, false, false },
	{ "9000-a000 rw-p 00000000 00:0f 9                          /anon_hugepage (deleted)", true, false, false },
	{ "a000-b000 -w-p 00000000 00:00 0 ", false, false, false },
	{ "b000-c000 rw-p 00000000 fe:01 55", true, true, false },
	{ "c000-d000 r--p 00000000 fe:01 55                         /tmp/one\\012[heap] two (deleted)", true, true,
	  false },
	{ "d000-e000 rw-p 00000000 00:00 0                          [anon:[vdso]]", false, true, false },
	{ "7ffc0000-7ffd0000 rw-p 00000000 00:00 0                  [stack]", false, true, false },
	{ "7ffe0000-7ffe4000 r--p 00000000 00:00 0                  [vvar]", true, false, false },
	{ "7ffe4000-7ffe6000 r-xp 00000000 00:00 0                  [vdso]", true, false, true },
	{ "7ffe6000-7ffe7000 r-xp 00000000 00:00 0                  [uprobes]", true, false, false },
};

#define NR_LINES (sizeof(lines) / sizeof(*lines))

static void lines_say_what_may_be_tracked(void **state)
{
	struct areas areas = { 0 };

	(void)state;
	for (size_t i = 0; i < NR_LINES; i++) {
		assert_int_equal(areas_add_line(&areas, lines[i].line), 0);
		assert_int_equal(areas.nr, i + 1);
		if (areas.v[i].file != lines[i].file || areas.v[i].trackable != lines[i].trackable ||
		    areas.v[i].vdso != lines[i].vdso)
			fail_msg("%s", lines[i].line);
	}
	assert_int_equal(areas_add_line(&areas, "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]"),
			 0);
	assert_int_equal(areas.nr, NR_LINES);
	assert_int_equal(areas_find(&areas, 0), 0);
	assert_int_equal(areas_find(&areas, 0x1fff), 0);
	assert_int_equal(areas_find(&areas, 0x2000), 1);
	assert_int_equal(areas_find(&areas, 0x7ffe6fff), NR_LINES - 1);
	assert_int_equal(areas_find(&areas, 0x7ffe7000), NR_LINES);
	areas_fini(&areas);
}

static void other_lines_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"1000",
		"1000-",
		"1000-2000",
		"1000-2000 rw-p",
		"2000-1000 rw-p 00000000 00:00 0",
		"1000-1000 rw-p 00000000 00:00 0",
		"1000-2000 rw-p 0 00:00",
		"1000-2000 rw-p 0 00:00 x",
		"1000-2000 rw-p 0 00:00 -5",
		"1000-2000 rw-p 0 00:00 5x",
		"1000-2000 rw-pp 0 00:00 0",
		"xyz-2000 rw-p 00000000 00:00 0",
		"1000 2000 rw-p 00000000 00:00 0",
		"Size:                  4 kB",
	};
	struct areas areas = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (areas_add_line(&areas, bad[i]) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	}
	assert_int_equal(areas_add_line(&areas, lines[1].line), 0);
	assert_int_equal(areas_add_line(&areas, lines[0].line), -EINVAL); /* not ascending */
	areas_fini(&areas);
}

/* Whatever is cut off, nothing behind the end is looked at: the sanitizers see to that. */
static void cut_lines_are_refused_up_to_the_inode(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_LINES; i++) {
		const char *inode = strchr(strchr(lines[i].line, ':'), ' ') + 1;

		for (size_t len = 0; len <= strlen(lines[i].line); len++) {
			struct areas areas = { 0 };
			char *cut = strndup(lines[i].line, len);

			if (areas_add_line(&areas, cut) != (len > (size_t)(inode - lines[i].line) ? 0 : -EINVAL))
				fail_msg("%s", cut);
			areas_fini(&areas);
			free(cut);
		}
	}
}

static void small_neighbours_are_one_run(void **state)
{
	static const uint64_t pages[] = { 17, 16, 1, 15, 17, 100, 16, 17, 1, 2, 3 };
	static const size_t runs[] = { 1, 3, 2, 1, 1, 1, 1, 1, 3, 2, 1 };
	const size_t nr = sizeof(pages) / sizeof(*pages);
	struct areas areas = { 0 };
	uint64_t at = 1 << 20;
	char line[96];

	(void)state;
	for (size_t i = 0; i < nr; i++) {
		snprintf(line, sizeof(line), "%lx-%lx rw-p 0 0:0 0", at, at + pages[i] * pagescan_page_size());
		assert_int_equal(areas_add_line(&areas, line), 0);
		at += (pages[i] + 1) * pagescan_page_size();
	}
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(areas_run(&areas, i), runs[i]);
	areas_fini(&areas);
}

/* More lines than any one read gives. */
static void long_maps_are_read_to_their_end(void **state)
{
	const size_t nr = 6000, size = nr * pagescan_page_size();
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	char *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t first, lines_kept = 0;
	struct areas areas;

	(void)state;
	for (size_t i = 1; i < nr; i += 2)
		assert_int_equal(mprotect(memory + i * pagescan_page_size(), pagescan_page_size(), PROT_NONE), 0);
	assert_int_equal(areas_read(dir, &areas), 0);
	first = areas_find(&areas, (uintptr_t)memory + pagescan_page_size());
	for (size_t i = 0; i < nr - 2; i++) {
		assert_int_equal(areas.v[first + i].start, (uintptr_t)memory + (i + 1) * pagescan_page_size());
		assert_int_equal(areas.v[first + i].trackable, i % 2);
	}
	assert_true(
		areas.v[areas_find(&areas, (uintptr_t)__builtin_frame_address(0))].trackable); /* the stack, behind */
	for (const char *at = areas.text; (at = strchr(at, '\n')); at++)
		lines_kept++;
	assert_in_range(lines_kept, areas.nr, areas.nr + 1); /* [vsyscall] is no area */
	areas_fini(&areas);
	munmap(memory, size);
	close(dir);
}

static void a_dead_process_has_none(void **state)
{
	struct areas areas;
	siginfo_t info;
	char path[32];
	pid_t pid = fork();
	int dir;

	(void)state;
	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(areas_read(dir, &areas), -ESRCH); /* a zombie */
	assert_true(!areas.nr && !areas.v && !areas.text);
	waitpid(pid, NULL, 0);
	assert_true(areas_read(dir, &areas) < 0);
	close(dir);
}

static void a_process_has_its_areas(void **state)
{
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	const size_t size = 64 * pagescan_page_size();
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct areas areas;
	const struct area *area;

	(void)state;
	/* Every second page of its own protection: 64 areas, all small. */
	for (size_t i = 0; i < 64; i += 2)
		mprotect(memory + i * pagescan_page_size(), pagescan_page_size(), PROT_READ);
	assert_int_equal(areas_read(dir, &areas), 0);
	area = &areas.v[areas_find(&areas, (uintptr_t)memory)];
	assert_int_equal(area->start, (uintptr_t)memory);
	assert_true(areas_run(&areas, (size_t)(area - areas.v)) >= 63); /* the last may be one with a neighbour */
	for (size_t i = 1; i < areas.nr; i++)
		assert_true(areas.v[i - 1].end <= areas.v[i].start);
	areas_fini(&areas);
	munmap(memory, size);
	close(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_say_what_may_be_tracked),
		cmocka_unit_test(other_lines_are_refused),
		cmocka_unit_test(cut_lines_are_refused_up_to_the_inode),
		cmocka_unit_test(small_neighbours_are_one_run),
		cmocka_unit_test(long_maps_are_read_to_their_end),
		cmocka_unit_test(a_dead_process_has_none),
		cmocka_unit_test(a_process_has_its_areas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
