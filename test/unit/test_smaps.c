// SPDX-License-Identifier: GPL-2.0-only
/* What CRIU gets in place of smaps: the areas and the flags of the real one, or the real one. */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "bind/smaps.h"
#include "processes.h"

/* What CRIU asks for, and the letters of areas under protection. */
static const char *const asked[] = { "gd", "lo", "nr", "ht", "dp", "sr", "rr", "dc", "dd",
				     "mg", "hg", "nh", "wf", "io", "pf", "ss", "uw" };

static const struct {
	int map;
	int advice;
} kinds[] = {
	{ MAP_PRIVATE, MADV_NORMAL },
	{ MAP_SHARED, MADV_NORMAL },
	{ MAP_PRIVATE | MAP_GROWSDOWN, MADV_NORMAL },
	{ MAP_PRIVATE | MAP_NORESERVE, MADV_DONTDUMP },
	{ MAP_PRIVATE | MAP_LOCKED, MADV_SEQUENTIAL },
	{ MAP_PRIVATE, MADV_RANDOM },
	{ MAP_PRIVATE, MADV_DONTFORK },
	{ MAP_PRIVATE, MADV_WIPEONFORK },
	{ MAP_PRIVATE, MADV_HUGEPAGE },
	{ MAP_PRIVATE | MAP_NORESERVE, MADV_NOHUGEPAGE },
};

static pid_t child;
static struct identity id;
static char maps[1 << 16];

static void read_maps(void)
{
	int dir = open_proc(child), fd = openat(dir, "maps", O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n;

	while ((n = read(fd, maps + size, sizeof(maps) - 1 - size)) > 0)
		size += (size_t)n;
	maps[size] = '\0';
	assert_true(size > 0 && size < sizeof(maps) - 1);
	close(fd);
	close(dir);
}

/* A child with an area of each kind, and one more with @advice. Returns whether it could get that. */
static bool start(int advice)
{
	int ready[2];
	char ok = 0;

	assert_int_equal(pipe(ready), 0);
	child = start_child();
	if (!child) {
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
			void *at = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, kinds[i].map | MAP_ANONYMOUS, -1, 0);

			if (at == MAP_FAILED || madvise(at, 1 << 16, kinds[i].advice))
				_exit(1);
		}
		ok = !madvise(mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1 << 16, advice);
		if (write(ready[1], &ok, 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &ok, 1), 1);
	close(ready[0]);
	close(ready[1]);
	id = identity_of(child);
	read_maps();
	return ok;
}

static int stop(void **state)
{
	(void)state;
	smaps_forget();
	if (child)
		end_child(child);
	child = 0;
	return 0;
}

static bool has(const char *flags, const char *name)
{
	const char *at = strstr(flags, name);

	while (at && at != flags && at[-1] != ' ')
		at = strstr(at + 1, name);
	return at;
}

/* The next area of smaps and its flags. Returns whether there is one. */
static bool next_area(FILE *smaps, char area[512], char flags[512])
{
	char line[512];
	bool found = false;

	while (fgets(line, sizeof(line), smaps)) {
		if (strchr("0123456789abcdef", *line)) {
			strcpy(area, line);
			found = true;
		}
		if (!strncmp(line, "VmFlags: ", 9)) {
			strcpy(flags, line + 9);
			return found;
		}
	}
	return false;
}

/* Is @fd, which is closed, as good as the child's smaps? */
static bool is_same(int fd)
{
	char area[512] = "", flags[512] = "", real_area[512] = "", real_flags[512] = "", path[32];
	FILE *told = fdopen(fd, "r"), *real;
	bool same = true, more = true;

	snprintf(path, sizeof(path), "/proc/%d/smaps", child);
	real = fopen(path, "re");
	while (same && more) {
		more = next_area(real, real_area, real_flags);
		same = next_area(told, area, flags) == more && !strcmp(area, real_area);
		for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++)
			same &= has(flags, asked[i]) == has(real_flags, asked[i]);
	}
	if (!same)
		print_message("%s%sis told, but there is\n%s%s", area, flags, real_area, real_flags);
	fclose(real);
	fclose(told);
	return same;
}

/* Returns whether flags can be had from the kernel here. */
static bool prepared(void)
{
	const int err = smaps_prepare(getpid(), false);

	if (!err)
		return true;
	print_message("here is no BPF iterator over areas: %s\n", strerror(-err));
	return false;
}

static void the_kernel_tells_the_flags(void **state)
{
	int fd;

	(void)state;
	assert_true(start(MADV_NORMAL));
	if (!prepared())
		skip();
	fd = smaps_open(&id, maps);
	assert_true(fd >= 0);
	assert_true(is_same(fd));
}

/* They are those of now, not of when it was made ready. */
static void flags_are_of_now(void **state)
{
	int fd;

	(void)state;
	if (!prepared())
		skip();
	assert_true(start(MADV_HUGEPAGE));
	fd = smaps_open(&id, maps);
	assert_true(fd >= 0);
	assert_true(is_same(fd));
}

static void an_area_with_a_flag_that_is_not_known_needs_the_real_file(void **state)
{
	(void)state;
	if (!start(MADV_MERGEABLE)) {
		print_message("this kernel does not merge memory (KSM)\n");
		skip();
	}
	if (!prepared())
		skip();
	assert_int_equal(smaps_open(&id, maps), -1);
}

static void areas_have_to_be_those_of_maps(void **state)
{
	char *line, *rest;

	(void)state;
	assert_true(start(MADV_NORMAL));
	if (!prepared())
		skip();
	/* One less, and one that is shorter. */
	line = strchr(maps, '\n') + 1;
	rest = strdup(strchr(line, '\n') + 1);
	strcpy(line, rest);
	free(rest);
	assert_int_equal(smaps_open(&id, maps), -1);
	read_maps();
	line = strchr(maps, '-') + 1;
	*line = *line == 'f' ? 'e' : 'f';
	assert_int_equal(smaps_open(&id, maps), -1);
}

/* What a process without the right to a BPF program gets: exit code 0 if all is as it has to be. */
static int without_the_right(void)
{
	int fd;

	if (unshare(CLONE_NEWUSER))
		return 77;
	if (!start(MADV_MERGEABLE) && !start(MADV_NORMAL))
		return 1;
	if (smaps_prepare(child, false) >= 0 || smaps_open(&id, maps) >= 0)
		return 2;
	if (smaps_prepare(child, true) >= 0)
		return 3;
	fd = smaps_open(&id, maps);
	if (fd < 0)
		return 4;
	if (!is_same(fd))
		return 5;
	end_child(child);
	smaps_forget();
	return 0;
}

static void a_pre_dump_without_the_kernels_help_has_flags_from_before(void **state)
{
	pid_t pid = start_child();
	int code;

	(void)state;
	if (!pid)
		_exit(without_the_right());
	code = await_end(pid);
	if (code == 77) {
		print_message("here are no user namespaces\n");
		skip();
	}
	assert_int_equal(code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_kernel_tells_the_flags, stop),
		cmocka_unit_test_teardown(flags_are_of_now, stop),
		cmocka_unit_test_teardown(an_area_with_a_flag_that_is_not_known_needs_the_real_file, stop),
		cmocka_unit_test_teardown(areas_have_to_be_those_of_maps, stop),
		cmocka_unit_test_teardown(a_pre_dump_without_the_kernels_help_has_flags_from_before, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
