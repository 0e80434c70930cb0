/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arm.h - begin to track a process that runs: one of its threads stops for as long as it takes to make a userfaultfd.
 */
#ifndef PAGESCAN_TRACK_ARM_H
#define PAGESCAN_TRACK_ARM_H

#include "epoch.h"

/*
 * Make a userfaultfd in the process @id, and give it to the keeper with a new tracker's name and epoch 0. On success
 * *stopped is how long one of its threads stood still, in nanoseconds. A process of our own does it, which no signal
 * but SIGKILL ends, so that an interrupted or killed caller leaves nothing half done in the process.
 * For a caller without other threads, none of whose children may be reaped by a handler. Returns 0 or a negative
 * errno with @why; the process is then as it was (thread.h).
 */
int arm(const struct identity *id, uint64_t *stopped, struct reason *why);

#endif
