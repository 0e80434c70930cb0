// SPDX-License-Identifier: GPL-2.0-only
/*
 * When a device may write memory past the page tables: it takes both an AIO context and a file opened with O_DIRECT, or
 * an io_uring. What cannot be looked at is in doubt.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "track/direct_io.h"
#include "unit.h"

static bool possible(int pid, struct reason *why)
{
	const int proc_dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct areas areas;
	bool result;

	why->text[0] = '\0';
	assert_int_equal(areas_read(proc_dir, &areas), 0);
	result = direct_io_possible(pid, &areas, false, why);
	areas_fini(&areas);
	close(proc_dir);
	assert_int_equal(result, !!why->text[0]);
	return result;
}

static void it_takes_a_context_and_a_direct_file(void **state)
{
	const int buffered = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	const int direct = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
	aio_context_t ring = 0;
	struct reason why;

	(void)state;
	if (direct < 0) {
		print_message("no O_DIRECT here\n");
		skip();
	}
	assert_false(possible(getpid(), &why));
	assert_int_equal(syscall(SYS_io_setup, 1, &ring), 0);
	assert_true(possible(getpid(), &why));
	assert_non_null(strstr(why.text, "O_DIRECT"));
	close(direct);
	assert_false(possible(getpid(), &why));
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(buffered);
}

static void an_io_uring_is_enough(void **state)
{
	char maps[] = "7000-8000 rw-s 00000000 00:10 8                          anon_inode:[io_uring]\n";
	struct areas areas = { .text = maps };
	struct reason why;

	(void)state;
	assert_true(direct_io_possible(getpid(), &areas, false, &why));
	assert_non_null(strstr(why.text, "io_uring"));
}

static void what_cannot_be_seen_is_possible(void **state)
{
	aio_context_t ring = 0;
	struct reason why;

	(void)state;
	assert_int_equal(syscall(SYS_io_setup, 1, &ring), 0);
	assert_true(possible(INT32_MAX, &why)); /* no such task */
	assert_non_null(strstr(why.text, "cannot see"));
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_takes_a_context_and_a_direct_file),
		cmocka_unit_test(an_io_uring_is_enough),
		cmocka_unit_test(what_cannot_be_seen_is_possible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
