// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many threads write without a pause, each into memory of its own and all into every n-th page of one area, while the
 * process is dumped: whatever the instant at which a round catches them, no write may be lost.
 */
#include <pthread.h>

#include "track.h"

const char *test_doc = "Threads that write all the time";
const char *test_author = "criu-pagescan";

/* Few enough writes that some pages are clean in each round, and change in the next. */
enum { THREADS = 8, OWN = 512, SHARED = 1024 };

static struct pages own[THREADS], shared;

static void *work(void *arg)
{
	unsigned int self = (uintptr_t)arg;
	uint32_t seed = self + 1;

	for (unsigned int i = 0; test_go(); i++) {
		pages_write_random(&own[self], 1, &seed);
		if (i % 4 == 0)
			page_write(&shared, pages_random(SHARED / THREADS, &seed) * THREADS + self);
		usleep(1000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	test_init(argc, argv);
	model_init();
	shared = pages_map(SHARED);
	pages_write(&shared);
	for (uintptr_t i = 0; i < THREADS; i++) {
		own[i] = pages_map(OWN);
		pages_write(&own[i]);
		if (pthread_create(&threads[i], NULL, work, (void *)i))
			return pr_perror("pthread_create");
	}

	test_daemon();
	test_waitsig();

	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++)
		if (pages_verify(&own[i], "a thread's own memory"))
			return 1;
	if (pages_verify(&shared, "shared area"))
		return 1;
	pass();
	return 0;
}
