/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * live_round.h - one pre-dump of a whole tree while it runs.
 */
#ifndef PAGESCAN_COPY_LIVE_ROUND_H
#define PAGESCAN_COPY_LIVE_ROUND_H

#include <signal.h>

#include "copy.h"

/*
 * What is wanted. @pid: the root of the tree. @dir: the image directory, empty, open. @parent: where the images of the
 * round before are, relative to @dir; NULL for none. @tell gets a sentence about each task that something is to be said
 * of. All of it stays the caller's.
 */
struct live_request {
	int pid;
	int dir;
	const char *parent;
	struct copy_plan plan;
	void (*tell)(int pid, const char *text);
};

/*
 * What came of it. @tasks: those that are in the images. @skipped: those that have to be left to a stopped round.
 * @armed: tasks of which a thread was stopped, for @stopped nanoseconds all together, @stopped_most at most; @copying: the
 * time that went into copying, @ns the whole round, in nanoseconds.
 */
struct live_result {
	unsigned int tasks;
	unsigned int skipped;
	unsigned int armed;
	uint64_t stopped;
	uint64_t stopped_most;
	uint64_t copying;
	uint64_t ns;
	struct copy_counts pages;
};

/*
 * Make the round. Returns 0, or a negative errno with @why: then the directory is empty again, and the next round is a
 * full one. The caller has one thread.
 */
int live_round(struct live_request *request, struct live_result *result, struct reason *why);

#endif
