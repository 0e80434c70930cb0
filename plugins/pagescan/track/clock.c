// SPDX-License-Identifier: GPL-2.0-only
/*
 * clock.c - see clock.h. Calls the kernel.
 */
#include <time.h>

#include "clock.h"

static uint64_t read_clock(clockid_t clock)
{
	struct timespec time = { 0 };

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t clock_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double clock_seconds(void)
{
	return (double)clock_ns() / 1e9;
}

uint64_t clock_work(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* Shorter, and the time that a sleep takes to begin and to end would be most of it. */
#define STRETCH_NS 250000

uint64_t clock_share(uint64_t since)
{
	const uint64_t now = clock_work(), worked = now > since ? now - since : 0;
	const struct timespec pause = { (time_t)(worked / 1000000000), (long)(worked % 1000000000) };

	if (worked < STRETCH_NS)
		return since;
	nanosleep(&pause, NULL);
	return clock_work();
}
