// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls in a thread of a running process: they run there, and the process cannot tell, whatever it was doing.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <pagescan.h>

#include "processes.h"
#include "track/thread.h"

#define CALLS 20

/* What the children have to tell; shared with them. */
static volatile struct {
	int ready;
	int signals;
	int done;
	int wrong;
	uint64_t turns;
} * shared;

static void wake(int signal)
{
	(void)signal;
}

static int set_up(void **state)
{
	const struct sigaction action = { .sa_handler = wake };

	(void)state;
	shared = mmap(NULL, pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGALRM, &action, NULL);
	return shared == MAP_FAILED;
}

static int tear_down(void **state)
{
	const struct itimerval off = { 0 };

	(void)state;
	setitimer(ITIMER_REAL, &off, NULL);
	return munmap((void *)shared, pagescan_page_size());
}

static void wait_ready(void)
{
	for (int i = 0; i < NAPS && !shared->ready; i++)
		nap(5);
	assert_true(shared->ready);
}

static int stop(struct thread *thread, int pid)
{
	const struct itimerval patience = { { 0, 100000 }, { 0, 100000 } }, off = { 0 };
	struct reason why;
	int err;

	setitimer(ITIMER_REAL, &patience, NULL);
	err = thread_stop(thread, pid, &why);
	setitimer(ITIMER_REAL, &off, NULL);
	return err;
}

/* Have the process run getpid(2), again and again, each time anew. */
static void call(pid_t pid)
{
	const unsigned long args[6] = { 0 };
	char before[64], after[64];
	struct thread thread;
	long result;

	read_status(pid, "SigBlk", before);
	for (int i = 0; i < CALLS; i++) {
		assert_int_equal(stop(&thread, pid), 0);
		assert_int_equal(thread.remote.syscall(thread.remote.ctx, SYS_getpid, args, &result), 0);
		assert_int_equal(result, pid);
		assert_int_equal(thread.remote.syscall(thread.remote.ctx, SYS_close, (const unsigned long[6]){ 999 },
						       &result),
				 0);
		assert_int_equal(result, -EBADF);
		assert_int_equal(thread_go(&thread), 0);
		nap(2);
	}
	read_status(pid, "SigBlk", after);
	assert_string_equal(before, after);
}

/* A sum that depends on every register and every step. */
static uint64_t compute(uint64_t turns)
{
	uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
	double x = 1;

	while (turns--) {
		a = a * 31 + b;
		b = b * 37 + c;
		c ^= d + a;
		d = d * 41 + e;
		e ^= f + b;
		f = f * 43 + a;
		x = x * 1.0000001 + 1e-9;
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ (uint64_t)(x * 1e9);
}

static void its_registers_are_its_own(void **state)
{
	const uint64_t sum = compute(100000);
	pid_t pid = start_child();

	(void)state;
	if (!pid) {
		for (;;) {
			shared->wrong += compute(100000) != sum;
			shared->ready = 1;
			shared->turns++;
		}
	}
	wait_ready();
	call(pid);
	end_child(pid);
	assert_int_equal(shared->wrong, 0);
}

static void a_sleep_ends_in_its_time(void **state)
{
	pid_t pid = start_child();

	(void)state;
	if (!pid) {
		const struct timespec time = { 0, 400000000 };
		struct timespec before, after;

		shared->ready = 1;
		clock_gettime(CLOCK_MONOTONIC, &before);
		shared->wrong = nanosleep(&time, NULL) != 0;
		clock_gettime(CLOCK_MONOTONIC, &after);
		after.tv_nsec += (after.tv_sec - before.tv_sec) * 1000000000;
		shared->wrong += after.tv_nsec - before.tv_nsec < time.tv_nsec;
		_exit(0);
	}
	wait_ready();
	call(pid);
	assert_int_equal(await_end(pid), 0);
	assert_int_equal(shared->wrong, 0);
}

static void a_read_goes_on(void **state)
{
	int ends[2];
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = start_child();
	if (!pid) {
		shared->ready = 1;
		_exit(read(ends[0], &byte, 1) == 1 && byte == 'x' ? 0 : 1);
	}
	wait_ready();
	call(pid);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(await_end(pid), 0);
	close(ends[0]);
	close(ends[1]);
}

static void count_signal(int signal)
{
	(void)signal;
	shared->signals++;
}

/* None is made, and those that come meanwhile are not lost: also one that it waits for with a mask of that time. */
static void its_signals_are_its_own(void **state)
{
	const struct sigaction action = { .sa_handler = count_signal };
	pid_t pid = start_child();
	struct thread thread;

	(void)state;
	if (!pid) {
		sigset_t blocked, none;

		sigemptyset(&none);
		sigfillset(&blocked);
		sigprocmask(SIG_SETMASK, &blocked, NULL);
		for (int signal = 1; signal < 32; signal++)
			sigaction(signal, &action, NULL);
		shared->ready = 1;
		sigsuspend(&none);
		_exit(shared->signals == 1 ? 0 : 1);
	}
	wait_ready();
	call(pid);
	assert_int_equal(shared->signals, 0);
	assert_int_equal(stop(&thread, pid), 0);
	assert_int_equal(kill(pid, SIGTRAP), 0);
	assert_int_equal(thread_go(&thread), 0);
	assert_int_equal(await_end(pid), 0);
}

/* Who is stopped stays so, and its parent hears nothing of it. */
static void a_stopped_process_stays_stopped(void **state)
{
	pid_t pid = start_child();
	char text[64];
	int status;

	(void)state;
	if (!pid) {
		for (;;)
			shared->turns++;
	}
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	call(pid);
	read_status(pid, "State", text);
	assert_string_equal(text, "T");
	assert_int_equal(waitpid(pid, &status, WUNTRACED | WCONTINUED | WNOHANG), 0);
	shared->turns = 0;
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(waitpid(pid, &status, WCONTINUED), pid);
	for (int i = 0; i < NAPS && !shared->turns; i++)
		nap(5);
	assert_true(shared->turns);
	end_child(pid);
}

/* A signal that cannot be blocked comes while a call is run in it. */
static void a_stop_that_comes_meanwhile_is_kept(void **state)
{
	const unsigned long args[6] = { 0 };
	pid_t pid = start_child();
	struct thread thread;
	int status;
	long result;

	(void)state;
	if (!pid) {
		for (;;)
			pause();
	}
	assert_int_equal(stop(&thread, pid), 0);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(thread.remote.syscall(thread.remote.ctx, SYS_getpid, args, &result), 0);
	assert_int_equal(result, pid);
	assert_int_equal(thread_go(&thread), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	end_child(pid);
}

static void one_that_is_killed_meanwhile_is_gone(void **state)
{
	const unsigned long args[6] = { 0 };
	pid_t pid = start_child();
	struct thread thread;
	long result;

	(void)state;
	if (!pid) {
		for (;;)
			pause();
	}
	assert_int_equal(stop(&thread, pid), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(thread.remote.syscall(thread.remote.ctx, SYS_getpid, args, &result), -ESRCH);
	assert_int_equal(thread_go(&thread), -ESRCH);
	await_end(pid);
}

/* Under strict seccomp any call but four kills the process. */
static void strict_seccomp_allows_it(void **state)
{
	pid_t pid = start_child();

	(void)state;
	if (!pid) {
		int strict = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);

		shared->ready = 1 + !!strict;
		for (;;)
			shared->turns++;
	}
	wait_ready();
	assert_int_equal(shared->ready, 1);
	call(pid);
	shared->turns = 0;
	for (int i = 0; i < NAPS && !shared->turns; i++)
		nap(5);
	assert_true(shared->turns);
	end_child(pid);
}

static void *serve(void *arg)
{
	shared->ready = 1;
	for (;;)
		pause();
	return arg;
}

/* The first one waits for its child where nothing interrupts it. */
static void a_thread_that_sleeps_soundly_is_passed_by(void **state)
{
	pid_t pid = start_child();
	char text[64] = "";

	(void)state;
	if (!pid) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, NULL))
			_exit(1);
		if (!vfork()) {
			/* Until its parent has ended. */
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
			_exit(0);
		}
		for (;;)
			pause();
	}
	wait_ready();
	for (int i = 0; i < NAPS && *text != 'D'; i++) {
		nap(5);
		read_status(pid, "State", text);
	}
	assert_string_equal(text, "D");
	call(pid);
	read_status(pid, "State", text);
	assert_string_equal(text, "D");
	end_child(pid);
}

static void who_is_traced_already_is_left_alone(void **state)
{
	pid_t pid = start_child(), tracer;
	struct thread thread;

	(void)state;
	if (!pid) {
		for (;;)
			pause();
	}
	tracer = start_child();
	if (!tracer) {
		shared->ready = 1 + (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0);
		pause();
	}
	wait_ready();
	assert_int_equal(shared->ready, 1);
	assert_int_equal(stop(&thread, pid), -EPERM);
	end_child(tracer);
	end_child(pid);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(its_registers_are_its_own),
		CASE(a_sleep_ends_in_its_time),
		CASE(a_read_goes_on),
		CASE(its_signals_are_its_own),
		CASE(a_stopped_process_stays_stopped),
		CASE(a_stop_that_comes_meanwhile_is_kept),
		CASE(one_that_is_killed_meanwhile_is_gone),
		CASE(strict_seccomp_allows_it),
		CASE(a_thread_that_sleeps_soundly_is_passed_by),
		CASE(who_is_traced_already_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
