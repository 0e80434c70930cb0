// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stacks that grow between rounds: of the main thread, of another thread, and a MAP_GROWSDOWN mapping. Each round adds
 * a frame below the ones before and stays in it, so that the frames of all rounds are alive when the process is dumped.
 */
#include <alloca.h>
#include <pthread.h>

#include "track.h"

const char *test_doc = "Stacks that grow between rounds";
const char *test_author = "criu-pagescan";

enum { FRAME = 16, MAX_DEPTH = 24, THREAD_STACK = 1024, GROW_STEP = 32, GROW_MAX = 512 };
/* The threads tell each other the number of the round, and this much more as the answer. */
enum { DONE = 1000000 };

static task_waiter_t waiter;
static struct pages growing;
static unsigned int grown;

static struct pages frame_pages(void *frame)
{
	uintptr_t start = (uintptr_t)frame;

	return pages_model((void *)(start + -start % page_size), FRAME);
}

/* Leaves pages behind in which later frames will lie. */
static __attribute__((noinline)) void dip(void)
{
	struct pages frame = frame_pages(alloca((FRAME + 1) * page_size));

	pages_write(&frame);
}

static void grow_down(void)
{
	for (unsigned int i = 0; i < GROW_STEP && grown < growing.nr; i++)
		page_write(&growing, growing.nr - ++grown);
}

static __attribute__((noinline)) int thread_frame(unsigned int round)
{
	struct pages frame = frame_pages(alloca((FRAME + 1) * page_size));
	int bad = 0;

	pages_write(&frame);
	task_waiter_complete(&waiter, DONE + round);
	if (round < MAX_DEPTH) {
		task_waiter_wait4(&waiter, round + 1);
		if (test_go())
			bad = thread_frame(round + 1);
	}
	return pages_verify(&frame, "a thread's frame") | bad;
}

static void *thread(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)thread_frame(0);
}

static __attribute__((noinline)) int main_frame(unsigned int round)
{
	struct pages frame = frame_pages(alloca((FRAME + 1) * page_size));
	int bad = 0;

	pages_write(&frame);
	if (round)
		test_wait_pre_dump_ack();
	if (round < MAX_DEPTH && test_go() && !test_wait_pre_dump()) {
		dip();
		grow_down();
		task_waiter_complete(&waiter, round + 1);
		task_waiter_wait4(&waiter, DONE + round + 1);
		bad = main_frame(round + 1);
	} else {
		test_waitsig();
		if (round < MAX_DEPTH)
			task_waiter_complete(&waiter, round + 1);
	}
	return pages_verify(&frame, "the main thread's frame") | bad;
}

/* With room below for all of GROW_MAX pages and the gap that the kernel keeps between a stack and what lies below. */
static void map_growing(void)
{
	const size_t room = 4 * GROW_MAX;
	uint8_t *top = (uint8_t *)map_anon(room, MAP_NORESERVE) + room * page_size;

	munmap(top - room * page_size, room * page_size);
	map_anon_at(top - page_size, 1, MAP_GROWSDOWN);
	growing = pages_model(top - GROW_MAX * page_size, GROW_MAX);
	pages_expect(&growing, EXPECT_FAULT);
	grow_down();
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t other;
	void *thread_bad;
	int bad;

	test_init(argc, argv);
	model_init();
	task_waiter_init(&waiter);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK * page_size);
	if (pthread_create(&other, &attr, thread, NULL))
		return pr_perror("pthread_create");
	task_waiter_wait4(&waiter, DONE);
	map_growing();

	test_daemon();
	bad = main_frame(0);
	pthread_join(other, &thread_bad);

	if (bad || thread_bad || pages_verify(&growing, "MAP_GROWSDOWN"))
		return 1;
	pass();
	return 0;
}
