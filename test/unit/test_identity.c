// SPDX-License-Identifier: GPL-2.0-only
/* Which task it is: read right whatever the task is called, another one after exec or when the pid is used again. */
#include <errno.h>
#include <sys/ptrace.h>

#include "processes.h"

/* Field @nr of stat (proc_pid_stat(5)), counted word by word behind the name. */
static uint64_t field(int proc_dir, int nr)
{
	char text[2048] = "", *word;
	int fd = openat(proc_dir, "stat", O_RDONLY);

	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	word = strtok(strrchr(text, ')') + 1, " ");
	for (int i = 3; word && i < nr; i++)
		word = strtok(NULL, " ");
	assert_non_null(word);
	return strtoull(word, NULL, 10);
}

static void a_task_is_read_right_whatever_its_name(void **state)
{
	static const char *const names[] = { "plain",	       ") R 1 2 3 4 5",	 "\n) Z\n 9 (x) y",
					     "((((((((((((((", "))))))))))))))", " ",
					     "%s %d %n" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int ready[2], dir;
		struct identity id;
		pid_t pid;
		char byte;

		assert_int_equal(pipe(ready), 0);
		pid = start_child();
		if (!pid) {
			prctl(PR_SET_NAME, names[i]);
			(void)!write(ready[1], "", 1);
			pause();
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		close(ready[1]);
		dir = open_proc(pid);
		assert_int_equal(identity_read(dir, &id), 0);
		assert_int_equal(id.pid, pid);
		assert_int_equal(id.start_time, field(dir, 22));
		assert_int_equal(id.stack, field(dir, 28));
		assert_true(id.start_time && id.stack);
		close(dir);
		end_child(pid);
	}
}

static void proc_self_is_this_process(void **state)
{
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	struct identity id;

	(void)state;
	assert_int_equal(identity_read(dir, &id), 0);
	assert_int_equal(id.pid, getpid());
	/* The frame of this function lies on the stack that the identity names, which grows down. */
	assert_true(id.stack > (uintptr_t)__builtin_frame_address(0));
	assert_true(id.stack - (uintptr_t)__builtin_frame_address(0) < 8 << 20);
	close(dir);
}

static void exec_makes_another_task_of_a_pid(void **state)
{
	int go[2], gone[2];
	struct identity before, after;
	char randomized = '0', byte;
	pid_t pid;
	int fd;

	(void)state;
	assert_int_equal(pipe(go) | pipe2(gone, O_CLOEXEC), 0);
	pid = start_child();
	if (!pid) {
		close(gone[0]);
		if (read(go[0], &byte, 1) == 1)
			execl("/bin/sleep", "sleep", "60", NULL);
		_exit(1);
	}
	close(gone[1]);
	before = identity_of(pid);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(read(gone[0], &byte, 1), 0); /* exec closed it */
	after = identity_of(pid);
	end_child(pid);
	close(go[0]);
	close(go[1]);
	close(gone[0]);

	assert_int_equal(before.pid, after.pid);
	assert_int_equal(before.start_time, after.start_time);
	fd = open("/proc/sys/kernel/randomize_va_space", O_RDONLY);
	assert_int_equal(read(fd, &randomized, 1), 1);
	close(fd);
	if (randomized != '0')
		assert_false(identity_equal(&before, &after));
}

static void each_part_makes_the_difference(void **state)
{
	const struct identity a = { 1, 2, 3 };
	struct identity b = a;

	(void)state;
	assert_true(identity_equal(&a, &b));
	b.pid++;
	assert_false(identity_equal(&a, &b));
	b = a;
	b.start_time++;
	assert_false(identity_equal(&a, &b));
	b = a;
	b.stack++;
	assert_false(identity_equal(&a, &b));
}

static void a_task_that_is_gone_has_none(void **state)
{
	pid_t pid = start_child();
	struct identity id;
	int dir, err;

	(void)state;
	if (!pid)
		pause();
	dir = open_proc(pid);
	end_child(pid);
	err = identity_read(dir, &id);
	assert_true(err == -ESRCH || err == -ENOENT);
	close(dir);
}

/* For a caller who may not trace the task the stack is hidden: then it reads as 0, and the rest is right. */
static void a_hidden_stack_reads_as_none(void **state)
{
	const struct identity us = identity_of(getpid());
	pid_t pid = start_child();

	(void)state;
	if (!pid) {
		const bool root = !geteuid(); /* anyone else has no right to give up */
		int dir = open_proc(getppid());
		struct identity seen;

		if (root && (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)))
			_exit(2);
		_exit(identity_read(dir, &seen) || seen.pid != us.pid || seen.start_time != us.start_time ||
		      seen.stack != (root ? 0 : us.stack));
	}
	assert_int_equal(await_end(pid), 0);
}

/* The pid that the task itself sees, and who traces it; no more than the start of a field's name is no field. */
static void status_tells_numbers(void **state)
{
	pid_t pid = start_child();
	int dir;

	(void)state;
	if (!pid)
		pause();
	dir = open_proc(pid);
	assert_int_equal(identity_status(dir, "NSpid"), pid);
	assert_int_equal(identity_status(dir, "TracerPid"), 0);
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	assert_int_equal(identity_status(dir, "TracerPid"), getpid());
	assert_int_equal(identity_status(dir, "Tracer"), -EIO);
	end_child(pid);
	assert_true(identity_status(dir, "TracerPid") < 0);
	close(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_task_is_read_right_whatever_its_name),
		cmocka_unit_test(proc_self_is_this_process),
		cmocka_unit_test(exec_makes_another_task_of_a_pid),
		cmocka_unit_test(each_part_makes_the_difference),
		cmocka_unit_test(a_task_that_is_gone_has_none),
		cmocka_unit_test(a_hidden_stack_reads_as_none),
		cmocka_unit_test(status_tells_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
