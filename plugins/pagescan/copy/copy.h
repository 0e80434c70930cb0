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

/* Threads at most. */
#define COPY_JOBS 64

/*
 * Counts are pages. @todo: those that were protected to be copied. @lost: those that could not be read, which are not in
 * the images and dirty. @spared: of the copied ones, those that the sink found where they were to go.
 */
struct copy_counts {
	uint64_t todo;
	uint64_t copied;
	uint64_t parent;
	uint64_t lost;
	uint64_t spared;
};

/*
 * How to copy: into @sink, by @jobs threads, no more than @rate bytes a second (0: as many as can
 * be; @due, when the next may go, is copy.c's), until *stop becomes true. @progress, where not NULL, is told the counts
 * now and then, by one thread at a time. @rooms: the threads' buffers, copy.c's.
 */
struct copy_plan {
	struct sink *sink;
	unsigned int jobs;
	uint64_t rate;
	uint64_t due;
	struct part *rooms[COPY_JOBS];
	const volatile sig_atomic_t *stop;
	void (*progress)(const struct copy_counts *counts);
};

/*
 * Hand the @regions that live_protect() told of to the plan's sink, as the next ones of the task that it has begun. The
 * threads read and store; @take is called by one at a time, in order. Adds to @counts. Returns 0 or a negative errno
 * with @why: the sink failed, pages cannot be read, or one that could not be may look clean, -ESRCH if the task has ended, -EINTR
 * because of *stop. The plan keeps the threads' buffers until copy_end().
 */
int copy_regions(struct live *live, const struct pagescan_regions *regions, struct copy_plan *plan,
		 struct copy_counts *counts, struct reason *why);

/* Nothing more is to be copied by this plan for now: its buffers are given back. */
void copy_end(struct copy_plan *plan);

#endif
