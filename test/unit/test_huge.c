// SPDX-License-Identifier: GPL-2.0-only
/* Huge pages on the way: right bytes, in an area that nobody has advised, and small ones in the end where they belong. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pagescan.h>

#include "land/huge.h"
#include "unit.h"

#define PIECES 4UL
#define SIZE   (PIECES * HUGE_BYTES)

static int file;
static char *base, *memory;

/* A file that is no two bytes alike for long, and aligned memory with a piece more before and behind it. */
static int set_up(void **state)
{
	char path[] = "/tmp/huge.XXXXXX";
	uint32_t *words = malloc(SIZE);

	(void)state;
	file = mkstemp(path);
	unlink(path);
	for (uint32_t i = 0; words && i < SIZE / 4; i++)
		words[i] = i * 2654435761u;
	if (file < 0 || !words || write(file, words, SIZE) != (ssize_t)SIZE)
		return -1;
	free(words);
	base = mmap(NULL, SIZE + 3 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory = base + HUGE_BYTES + (-(uintptr_t)base & (HUGE_BYTES - 1));
	return base == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	huge_fini();
	close(file);
	return munmap(base, SIZE + 3 * HUGE_BYTES);
}

static bool is_right(const char *at, size_t piece)
{
	const uint32_t *words = (const uint32_t *)(const void *)at;

	for (uint32_t i = 0; i < HUGE_BYTES / 4; i++) {
		if (words[i] != (uint32_t)(piece * HUGE_BYTES / 4 + i) * 2654435761u)
			return false;
	}
	return true;
}

static uint64_t huge_bytes(int pid)
{
	static const struct pagescan_query query = { .required = PAGESCAN_HUGE };
	struct pagescan_regions regions = { 0 };
	char path[32];
	uint64_t bytes;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pagescan_walk(fd, (uintptr_t)memory, (uintptr_t)memory + SIZE, &query, &regions), 0);
	bytes = pagescan_regions_bytes(&regions);
	pagescan_regions_fini(&regions);
	close(fd);
	return bytes;
}

/* VmFlags of the area around the memory: hg, nh. And whether it is one piece. */
static bool is_plain_area(void)
{
	unsigned long start = 0, end = 0;
	char line[512];
	bool in = false, plain = false;
	FILE *smaps = fopen("/proc/self/smaps", "re");

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start <= (uintptr_t)memory && end >= (uintptr_t)memory + SIZE;
		else if (in && !strncmp(line, "VmFlags:", 8))
			plain = !strstr(line, " hg") && !strstr(line, " nh") && !strstr(line, " um") &&
				!strstr(line, " uw");
	}
	if (smaps)
		fclose(smaps);
	return plain;
}

static void read_all(void)
{
	for (size_t i = 0; i < PIECES; i++) {
		const int err = huge_read(file, memory + i * HUGE_BYTES, i * HUGE_BYTES);

		if (err == -EOPNOTSUPP) {
			print_message("# UFFDIO_MOVE (Linux 6.8) and huge pages of 2 MiB are needed\n");
			skip();
		}
		assert_int_equal(err, 0);
	}
}

static void it_is_huge_and_right_and_the_area_as_it_was(void **state)
{
	(void)state;
	read_all();
	for (size_t i = 0; i < PIECES; i++)
		assert_true(is_right(memory + i * HUGE_BYTES, i));
	assert_true(huge_bytes(getpid()) >= HUGE_BYTES);
	assert_true(is_plain_area());
	assert_int_equal(memory[-1], 0);
	assert_int_equal(memory[SIZE], 0);
}

/* A page may have been there for a while, though it is not any more. */
static void it_is_right_where_there_was_something(void **state)
{
	(void)state;
	memory[HUGE_BYTES] = 1;
	assert_int_equal(madvise(memory, SIZE, MADV_DONTNEED), 0);
	read_all();
	for (size_t i = 0; i < PIECES; i++)
		assert_true(is_right(memory + i * HUGE_BYTES, i));
	assert_true(is_plain_area());
}

static void nothing_is_there_after_an_error(void **state)
{
	unsigned char here[HUGE_BYTES / 4096];
	const int err = huge_read(file, memory, SIZE - 4096);

	(void)state;
	if (err == -EOPNOTSUPP)
		skip();
	assert_int_equal(err, -EBADMSG);
	assert_int_equal(mincore(memory, HUGE_BYTES, here), 0);
	assert_int_equal(here[0] & 1, 0);
	read_all();
	assert_true(is_right(memory, 0));
}

/* As after a landing: the one that read it has let go of it. The second half is an area that is refused, or advised. */
static void split_in_a_child(uint64_t first, uint64_t second, uint64_t wanted)
{
	struct image_area v[] = {
		{ .start = (uintptr_t)memory,
		  .end = (uintptr_t)memory + SIZE / 2,
		  .status = IMAGE_AREA_ANON_PRIVATE,
		  .madv = first },
		{ .start = (uintptr_t)memory + SIZE / 2,
		  .end = (uintptr_t)memory + SIZE,
		  .status = IMAGE_AREA_ANON_PRIVATE,
		  .madv = second },
	};
	const struct image_areas areas = { v, 2 };
	uint64_t before;
	int pid, status;

	read_all();
	pid = fork();
	if (!pid) {
		bool right = true;

		raise(SIGSTOP);
		for (size_t i = 0; i < PIECES; i++)
			right = right && is_right(memory + i * HUGE_BYTES, i);
		_exit(right ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_int_equal(madvise(memory, SIZE, MADV_DONTNEED), 0);
	before = huge_bytes(pid);
	huge_split(pid, &areas);
	if (before == SIZE)
		assert_int_equal(huge_bytes(pid), wanted);
	else
		print_message("# there were not enough huge pages\n");
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void what_was_refused_is_small_in_the_end(void **state)
{
	(void)state;
	split_in_a_child(1UL << MADV_NOHUGEPAGE, 1UL << MADV_NOHUGEPAGE, 0);
}

static void what_was_advised_stays_huge(void **state)
{
	(void)state;
	split_in_a_child(1UL << MADV_HUGEPAGE, 1UL << MADV_NOHUGEPAGE, SIZE / 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(it_is_huge_and_right_and_the_area_as_it_was),
		CASE(it_is_right_where_there_was_something),
		CASE(nothing_is_there_after_an_error),
		CASE(what_was_refused_is_small_in_the_end),
		CASE(what_was_advised_stays_huge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
