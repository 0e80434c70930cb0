/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * clock.h - how much time has passed: CLOCK_MONOTONIC, which nobody sets back.
 */
#ifndef PAGESCAN_TRACK_CLOCK_H
#define PAGESCAN_TRACK_CLOCK_H

#include <stdint.h>

/* Nanoseconds, and seconds, since some moment of the past. Any thread. */
uint64_t clock_ns(void);
double clock_seconds(void);

#endif
