// SPDX-License-Identifier: GPL-2.0-only
/*
 * process.c - the tree: processes and threads that come and go, and what each thread does between two operations.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"

#define MAX_THREADS 8 /* of all processes: each has an arena */

static const struct {
	unsigned int weight;
	bool (*run)(const struct self *me);
} operations[] = {
#define OP(name, weight) { weight, op_##name },
	ALL_OPERATIONS(OP)
#undef OP
};

/* Copies of counts in memory that is not modelled page by page: here, and on each thread's stack. */
static uint64_t steps_in_data[THREADS];
static pthread_t handles[THREADS];
static struct self selves[THREADS];

static void step(const struct self *me)
{
	unsigned int total = 0, chosen;
	enum operation i;
	struct deed *deed = deed_now(me);
	uint32_t *count;

	for (i = 0; i < OPERATIONS; i++)
		total += operations[i].weight;
	chosen = draw(me, total);
	for (i = 0; chosen >= operations[i].weight; i++)
		chosen -= operations[i].weight;
	*deed = (struct deed){ .step = me->thread->steps, .operation = (uint8_t)i };
	deed->done = operations[i].run(me);
	count = deed->done ? &model->operations[i].done : &model->operations[i].failed;
	__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&model->driver.steps, 1, __ATOMIC_RELAXED);
}

static bool must_end(const struct self *me)
{
	return model->driver.stop || me->process->leaving || me->thread->ending;
}

static void supervise(const struct self *me);

/* A thread's life. */
static void work(const struct self *me)
{
	struct thread *thread = me->thread;
	volatile uint64_t steps_on_stack = thread->steps;

	steps_in_data[me->number] = thread->steps;
	while (!must_end(me)) {
		uint32_t asked = model->driver.verify;

		if (steps_on_stack != thread->steps || steps_in_data[me->number] != thread->steps)
			complain("process %d thread %d: step %llu, but %llu on the stack and %llu in .bss",
				 (int)(me->process - model->processes), me->number, (unsigned long long)thread->steps,
				 (unsigned long long)steps_on_stack, (unsigned long long)steps_in_data[me->number]);
		if (thread->verified != asked) {
			verify(me);
			thread->verified = asked;
		}
		requests_serve(me);
		if (me->number == me->process->main)
			supervise(me);
		step(me);
		steps_on_stack = steps_in_data[me->number] = ++thread->steps;
		if (model->driver.pace)
			usleep(model->driver.pace);
	}
	verify(me);
}

static void *thread_main(void *arg)
{
	const struct self *me = arg;

	work(me);
	__atomic_store_n(&me->thread->state, ENDED, __ATOMIC_SEQ_CST);
	return NULL;
}

static struct self *self_of(struct process *process, int number)
{
	selves[number] = (struct self){ process, &process->threads[number], number };
	return &selves[number];
}

/* A new thread, or one that goes on where the last one with its number ended. */
bool thread_start(struct process *process, int number, bool fresh)
{
	struct self *me = self_of(process, number);
	struct thread *thread = me->thread;

	if (fresh) {
		*thread = (struct thread){ .random = tag_new() ^ model->seed << 32 };
		areas_init(me);
	}
	thread->ending = false;
	thread->state = RUNNING;
	errno = pthread_create(&handles[number], NULL, thread_main, me);
	if (!errno)
		return true;
	complain("pthread_create: %s", strerror(errno));
	thread->state = ABSENT;
	return false;
}

static void threads_join(struct process *process)
{
	for (int i = 0; i < THREADS; i++) {
		if (i != process->main && process->threads[i].state != ABSENT) {
			pthread_join(handles[i], NULL);
			process->threads[i].state = ABSENT;
		}
	}
}

/* Reap the children that have ended. They must have ended well. */
static void children_reap(const struct process *process)
{
	int status, pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (struct process *child = model->processes; child < model->processes + PROCESSES; child++) {
			if (child->state != LIVING || child->pid != pid || child->parent != process - model->processes)
				continue;
			if (status)
				complain("process %d (pid %d) ended with status %#x", (int)(child - model->processes),
					 pid, status);
			child->last_pid = child->pid;
			child->pid = 0;
			__atomic_store_n(&child->state, UNUSED, __ATOMIC_SEQ_CST);
		}
	}
}

/* Tell all children to end. Returns false if there are none. */
static bool children_dismiss(const struct process *process)
{
	bool any = false;

	for (struct process *child = model->processes; child < model->processes + PROCESSES; child++) {
		if (child->state != LIVING || child->parent != process - model->processes || child == process)
			continue;
		child->last_step = 1;
		any = true;
	}
	return any;
}

/* Everybody who lives has done the verification that the driver asked for. */
static void sum_up(void)
{
	uint32_t asked = model->driver.verify;

	for (const struct process *process = model->processes; process < model->processes + PROCESSES; process++) {
		for (int i = 0; process->state == LIVING && i < THREADS; i++) {
			if (process->threads[i].state != ABSENT && process->threads[i].verified != asked)
				return;
		}
	}
	model->driver.verified = asked;
}

/* What the main thread does for its process. */
static void supervise(const struct self *me)
{
	struct process *process = me->process;

	children_reap(process);
	for (int i = 0; i < THREADS; i++) {
		if (i == me->number || process->threads[i].state != ENDED)
			continue;
		pthread_join(handles[i], NULL);
		if (process == model->processes || draw(me, 2)) {
			thread_start(process, i, false);
		} else {
			areas_unmap(i);
			process->threads[i].state = ABSENT;
		}
	}
	if (process->last_step && me->thread->steps >= process->last_step)
		process->leaving = true;
	if (process == model->processes)
		sum_up();
}

/* The main thread of a process, to its end. */
void live(struct process *process)
{
	const struct self *me = self_of(process, process->main);

	work(me);
	process->leaving = true;
	threads_join(process);
	while (children_dismiss(process)) {
		children_reap(process);
		usleep(1000);
	}
	me->thread->state = ABSENT;
}

static unsigned int count_threads(void)
{
	unsigned int count = 0;

	for (const struct process *process = model->processes; process < model->processes + PROCESSES; process++) {
		for (int i = 0; process->state == LIVING && i < THREADS; i++)
			count += process->threads[i].state != ABSENT;
	}
	return count;
}

/* Main threads start the others, and successors of those that ended. */
bool op_spawn_thread(const struct self *me)
{
	int number = (int)draw(me, THREADS);

	if (me->number != me->process->main || me->process->threads[number].state != ABSENT ||
	    count_threads() >= MAX_THREADS)
		return false;
	return thread_start(me->process, number, true);
}

bool op_end_thread(const struct self *me)
{
	if (me->number == me->process->main)
		return false;
	me->thread->ending = true;
	return true;
}

static struct process *process_claim(void)
{
	for (struct process *process = model->processes + 1; process < model->processes + PROCESSES; process++) {
		unsigned int unused = UNUSED;

		if (__atomic_compare_exchange_n(&process->state, &unused, LIVING, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return process;
	}
	return NULL;
}

/* Where the pid namespace is ours alone, the next process gets this pid. */
static void want_pid(int pid)
{
	char text[16];
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	int len = snprintf(text, sizeof(text), "%d", pid - 1);

	if (fd < 0)
		return;
	if (write(fd, text, (size_t)len) != len)
		errno = 0;
	close(fd);
}

/*
 * In the model, a child has what the forking thread has, but for what its advice to the kernel said. CRIU before 4.2
 * forgets about MADV_WIPEONFORK.
 */
static void thread_fork(const struct thread *from, struct thread *to)
{
	*to = *from;
	to->request.state = IDLE;
	to->random ^= tag_new() << 20;
	to->deeds[to->steps++ % RECENT].done = true; /* the fork is one of the child's deeds, too */
	for (unsigned int i = 0; i < PAGES; i++) {
		struct page *page = &to->pages[i];

		if (page->flags & DONT_FORK)
			*page = (struct page){ .by = OP_spawn_process };
		else if (page->flags & WIPE_ON_FORK && page->want)
			page->want |= TAG_OR_ZERO;
	}
}

static void __attribute__((noreturn)) child_main(const struct self *me, struct process *child)
{
	syscall(SYS_close_range, FDS, ~0U, 0); /* what other threads had open at that moment */
	for (int i = 0; i < THREADS; i++) {
		if (i != me->number)
			areas_unmap(i);
	}
	child->pid = getpid();
	live(child);
	_exit(0);
}

bool op_spawn_process(const struct self *me)
{
	struct process *process = me->process, *child;
	int pid;

	if (process->leaving || count_threads() >= MAX_THREADS)
		return false;
	child = process_claim();
	if (!child)
		return false;
	if (child->last_pid && draw(me, 2))
		want_pid(child->last_pid);
	child->parent = (int)(process - model->processes);
	child->main = me->number;
	child->leaving = false;
	child->heap = process->heap;
	child->last_step = draw(me, 16) ? me->thread->steps + 2 + draw(me, 1 << draw(me, 14)) : 0;
	for (int i = 0; i < THREADS; i++)
		child->threads[i].state = ABSENT;
	thread_fork(me->thread, &child->threads[me->number]);

	pid = fork();
	if (!pid)
		child_main(me, child);
	if (pid > 0)
		return true;
	complain("fork: %s", strerror(errno));
	child->state = UNUSED;
	return false;
}

/* A process that is one thread becomes this program anew: the same pid, start time and addresses, other memory. */
bool op_exec_self(const struct self *me)
{
	struct process *process = me->process;
	char number[16];

	if (process == model->processes || me->number != process->main)
		return false;
	for (int i = 0; i < THREADS; i++) {
		if (i != me->number && process->threads[i].state != ABSENT)
			return false;
	}
	snprintf(number, sizeof(number), "%d", (int)(process - model->processes));
	__atomic_fetch_add(&model->operations[OP_exec_self].done, 1, __ATOMIC_RELAXED);
	execl(program, program, directory, number, NULL);
	complain("exec: %s", strerror(errno));
	return false;
}

/* The first thread of a program. */
void process_begin(struct process *process)
{
	struct thread *thread = &process->threads[process->main];

	process->pid = getpid();
	process->heap = ((uintptr_t)sbrk(0) + page_size - 1) & ~(page_size - 1);
	thread->request.state = IDLE;
	areas_init(self_of(process, process->main));
	thread->state = RUNNING;
}
