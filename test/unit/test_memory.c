// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task's memory that is read stays as it is: what it shares with its children since a fork stays shared, and no child
 * can take it away. process_vm_readv(2) would make that possible, on kernels that have this fault (memory.h). And no
 * stack grows to where nothing is mapped any more.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "processes.h"
#include "scan/uapi.h"
#include "track/memory.h"

#define SIZE (8 * sysconf(_SC_PAGESIZE))

static char *memory, *copy;

static ssize_t read_gently(void)
{
	const struct iovec from[] = { { memory, (size_t)SIZE / 2 }, { memory + SIZE / 2, (size_t)SIZE / 2 } };
	int dir = open_proc(getpid()), fd = memory_open(dir);
	ssize_t got = memory_read(fd, copy, from, 2);

	close(fd);
	close(dir);
	return got;
}

static ssize_t read_by_pinning(void)
{
	struct iovec to = { copy, (size_t)SIZE }, from = { memory, (size_t)SIZE };

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0);
}

static bool is_shared(const char *addr)
{
	int dir = open_proc(getpid()), fd = openat(dir, "pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t pme;

	assert_int_equal(pread(fd, &pme, 8, (off_t)((uintptr_t)addr / (uintptr_t)sysconf(_SC_PAGESIZE) * 8)), 8);
	close(fd);
	close(dir);
	return !(pme & PME_EXCLUSIVE);
}

static pid_t start_idle_child(void)
{
	pid_t pid = start_child();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

static bool all_is(char byte, const char *bytes)
{
	for (long i = 0; i < SIZE; i++) {
		if (bytes[i] != byte)
			return false;
	}
	return true;
}

/* On one processor, as the kernel keeps lists of pages for each, and a page on such a list is not dropped. */
static int set_up(void **state)
{
	cpu_set_t one;

	(void)state;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	memory = mmap(NULL, (size_t)SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	copy = mmap(NULL, (size_t)SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, (size_t)SIZE, MADV_NOHUGEPAGE);
	memset(memory, 7, (size_t)SIZE);
	return memory == MAP_FAILED || copy == MAP_FAILED;
}

static int tear_down(void **state)
{
	(void)state;
	return munmap(memory, (size_t)SIZE) | munmap(copy, (size_t)SIZE);
}

/* Whether memory is lost that one child shared while it was read, and that another one, born later, gave up. */
static bool is_lost_if(ssize_t (*reading)(void))
{
	pid_t child = start_idle_child();

	assert_int_equal(reading(), SIZE);
	end_child(child);
	child = start_child();
	if (!child)
		_exit(madvise(memory, (size_t)SIZE, MADV_FREE) ? 1 : 0);
	assert_int_equal(await_end(child), 0);
	madvise(copy, (size_t)SIZE, MADV_PAGEOUT); /* empties the processor's lists */
	madvise(memory, (size_t)SIZE, MADV_PAGEOUT);
	return !all_is(7, memory);
}

static void what_was_read_stays_whatever_a_child_gives_up(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		memset(memory, 7, (size_t)SIZE);
		assert_false(is_lost_if(read_gently));
		assert_true(all_is(7, copy));
	}
}

/* The same by a call that pins. It shows that the test above would see the fault; a kernel without it is a better one. */
static void the_kernel_loses_what_was_pinned(void **state)
{
	(void)state;
	if (!is_lost_if(read_by_pinning)) {
		print_message("# this kernel does not lose it, or has no memory to page out\n");
		skip();
	}
}

static void what_is_shared_stays_shared(void **state)
{
	pid_t child = start_idle_child();

	(void)state;
	assert_true(is_shared(memory));
	assert_int_equal(read_gently(), SIZE);
	assert_true(all_is(7, copy));
	assert_true(is_shared(memory));
	end_child(child);
}

/* Up to the first page that cannot be read, which is told if it is the first of all. */
static void what_cannot_be_read_is_told(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const struct iovec from[] = { { memory, 2 * page }, { memory + 2 * page, 3 * page } };
	int dir = open_proc(getpid()), fd = memory_open(dir);

	(void)state;
	munmap(memory + 3 * page, page);
	assert_int_equal(memory_read(fd, copy, from, 2), 3 * page);
	munmap(memory, page);
	assert_int_equal(memory_read(fd, copy, from, 2), -EFAULT);
	assert_int_equal(memory_read(fd, copy, from, 0), 0);
	close(fd);
	close(dir);
}

static void memory_that_is_gone_is_told(void **state)
{
	const struct iovec from = { memory, 1 };
	pid_t child = start_idle_child();
	int dir = open_proc(child), fd = memory_open(dir);

	(void)state;
	assert_int_equal(memory_read(fd, copy, &from, 1), 1);
	end_child(child);
	assert_int_equal(memory_read(fd, copy, &from, 1), -ESRCH);
	assert_true(memory_open(dir) < 0);
	close(fd);
	close(dir);
}

/* An area of one page that can grow, above many where nothing is mapped. */
static char *map_stack(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = 1024 * page;
	char *place = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(place, MAP_FAILED);
	munmap(place, room);
	assert_ptr_equal(mmap(place + room - page, page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0),
			 place + room - page);
	return place + room - page;
}

static bool is_mapped(char *addr)
{
	return !msync(addr, (size_t)sysconf(_SC_PAGESIZE), MS_ASYNC);
}

static rlim_t stack_limit(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_STACK, &limit), 0);
	return limit.rlim_cur;
}

static void no_stack_grows_to_what_is_read(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int dir = open_proc(getpid()), fd = memory_open(dir);
	const rlim_t limit = stack_limit();
	char *stack = map_stack(), byte;
	const struct iovec below = { stack - 3 * page, page }, both = { stack - page, 2 * page };

	(void)state;
	assert_int_equal(memory_read(fd, copy, &below, 1), -EFAULT);
	assert_int_equal(memory_read(fd, copy, &both, 1), -EFAULT);
	assert_false(is_mapped(stack - page));
	assert_true(stack_limit() == limit);
	/* The test would see it: the kernel lets it grow for who reads in another way. */
	assert_int_equal(pread(fd, &byte, 1, (off_t)(uintptr_t)below.iov_base), 1);
	assert_true(is_mapped(stack - 3 * page));
	munmap(stack - 3 * page, 4 * page);
	close(fd);
	close(dir);
}

static void *read_below(void *stack)
{
	const struct iovec from = { (char *)stack - sysconf(_SC_PAGESIZE), 1 };
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = memory_open(dir);
	uintptr_t wrong = 0;
	char byte;

	for (int i = 0; i < 2000; i++)
		wrong += memory_read(fd, &byte, &from, 1) != -EFAULT;
	close(fd);
	close(dir);
	return (void *)wrong;
}

static void many_may_read_at_once(void **state)
{
	const rlim_t limit = stack_limit();
	char *stack = map_stack();
	pthread_t threads[4];
	void *wrong;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_below, stack), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	assert_true(stack_limit() == limit);
	munmap(stack, (size_t)sysconf(_SC_PAGESIZE));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(what_was_read_stays_whatever_a_child_gives_up),
		CASE(the_kernel_loses_what_was_pinned),
		CASE(what_is_shared_stays_shared),
		CASE(what_cannot_be_read_is_told),
		CASE(memory_that_is_gone_is_told),
		CASE(no_stack_grows_to_what_is_read),
		CASE(many_may_read_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
