/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * disk.h - prove that no direct read of a file is under way.
 */
#ifndef PAGESCAN_TRACK_DISK_H
#define PAGESCAN_TRACK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "reason.h"

/* What has been found out in one look at the files of the task @pid: begin with that alone, and use it for no other look. */
struct disk_look {
	int pid;
	bool quiet; /* no read is under way of any file of the filesystem that is mounted by the @mount's id */
	uint64_t mount;
	uint64_t deadline; /* CLOCK_MONOTONIC, nanoseconds; 0: nothing was waited for yet */
};

/*
 * Of the file behind the descriptor @fd (decimal) of a frozen task, which it opened with O_DIRECT: has every read that
 * was submitted before this call written all of its data? Waits for that, at most 10 ms in one look. Returns 0 if so, or
 * a negative errno with @why: -EBUSY if one may be under way, another one if that cannot be proved here.
 */
int disk_settle(struct disk_look *look, const char *fd, struct reason *why);

#endif
