/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arm.h - begin to track a process that runs: one of its threads stops for as long as it takes to make a userfaultfd.
 */
#ifndef PAGESCAN_TRACK_ARM_H
#define PAGESCAN_TRACK_ARM_H

#include "epoch.h"

/*
 * A process of our own does it, one process after the other, which no signal but SIGKILL ends, so that an interrupted or killed
 * caller leaves nothing half done. All zero: there is none, until one is needed. @pid and @socket are arm.c's.
 */
struct helper {
	int pid;
	int socket;
};

/*
 * Make a userfaultfd in the process @id, and give it to the keeper with a new tracker's name and epoch 0. On success
 * *stopped is how long one of its threads stood still, in nanoseconds. helper_end() is due some time.
 * For a caller without other threads, none of whose children may be reaped by a handler. Returns 0 or a negative
 * errno with @why; the process is then as it was (thread.h).
 */
int arm(struct helper *helper, const struct identity *id, uint64_t *stopped, struct reason *why);

/* The helper, if there is one, ends, and is waited for. The caller may have threads. */
void helper_end(struct helper *helper);

#endif
