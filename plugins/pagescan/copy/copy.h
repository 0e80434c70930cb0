/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * copy.h - take the protected pages of a running task into a sink.
 */
#ifndef PAGESCAN_COPY_COPY_H
#define PAGESCAN_COPY_COPY_H

#include <signal.h>

#include "sink.h"
#include "track/live.h"

/* Bytes of a worker's buffer: more does not make it faster, as the processor's cache holds no more. */
#define COPY_BUFFER (1UL << 20)

/* No more bytes a second than @rate, 0 for as many as can be. @due: when the next may go, in nanoseconds. */
struct copy_pace {
	uint64_t rate;
	uint64_t due;
};

/* Counts are pages. @lost: those that could not be read, which are not in the images and dirty. */
struct copy_counts {
	uint64_t copied;
	uint64_t parent;
	uint64_t lost;
};

/*
 * Hand the @regions that live_protect() told of to @sink, as the next ones of the task that it has begun. @jobs threads
 * (1: the caller alone) read and store; the sink's @take is called by one at a time, in order. Adds to @counts. Returns
 * 0 or a negative errno with @why: the sink failed, a page that could not be read may look clean, or -EINTR because
 * *stop became true.
 */
int copy_regions(struct live *live, const struct pagescan_regions *regions, struct sink *sink, unsigned int jobs,
		 struct copy_pace *pace, const volatile sig_atomic_t *stop, struct copy_counts *counts,
		 struct reason *why);

#endif
