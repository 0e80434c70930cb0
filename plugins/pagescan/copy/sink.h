/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sink.h - where a live round's pages go: files in the image directory, or a page server.
 */
#ifndef PAGESCAN_COPY_SINK_H
#define PAGESCAN_COPY_SINK_H

#include <pagescan.h>
#include <sys/types.h>

#include "track/reason.h"

/*
 * A part of a task's memory on its way: @runs ascend, each LIVE_COPY or LIVE_PARENT (track/live.h), and @bytes of pages
 * are in @buffer, those of the first run to copy first. @place is the sink's. @spared: bytes of those that the sink found
 * where they were to go.
 */
struct chunk {
	struct pagescan_region *runs;
	size_t nr;
	unsigned char *buffer;
	size_t bytes;
	off_t place;
	size_t spared;
};

/*
 * @begin and @end: before the first and after the last chunk of the task that CRIU knows as @pid, one task at a time.
 * @take: the next chunk, in the order of addresses, one at a time. @store (may be NULL): after @take, in any order and
 * by several threads at once. @finish: all tasks are done; only after it has returned 0 are they safe. @abandon: there
 * is no use for what was delivered for the task between @begin and @end.
 * All but @abandon return 0 or a negative errno with @why.
 */
struct sink {
	int (*begin)(struct sink *sink, int pid, struct reason *why);
	int (*take)(struct sink *sink, struct chunk *chunk, struct reason *why);
	int (*store)(struct sink *sink, struct chunk *chunk, struct reason *why);
	int (*end)(struct sink *sink, struct reason *why);
	void (*abandon)(struct sink *sink);
	int (*finish)(struct sink *sink, struct reason *why);
};

#endif
