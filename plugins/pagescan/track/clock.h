/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * clock.h - how much time has passed: CLOCK_MONOTONIC, which nobody sets back; and leaving some of it to others.
 */
#ifndef PAGESCAN_TRACK_CLOCK_H
#define PAGESCAN_TRACK_CLOCK_H

#include <stdint.h>

/* Nanoseconds, and seconds, since some moment of the past. Any thread. */
uint64_t clock_ns(void);
double clock_seconds(void);

/* Nanoseconds of processor time that the calling thread has had. */
uint64_t clock_work(void);

/*
 * For who works in pieces: a stretch of work began at @since (of clock_work()). Sleeps for as long as it has worked, if that is
 * worth a sleep. Returns when the stretch that goes on began. By the thread that works.
 */
uint64_t clock_share(uint64_t since);

#endif
