/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mounts.h - what is mounted where, as a task sees it.
 */
#ifndef PAGESCAN_TRACK_MOUNTS_H
#define PAGESCAN_TRACK_MOUNTS_H

#include <stdint.h>

/*
 * A line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), good for the time of the call. @id: as statx(2) tells it of a
 * file; @device: "MAJOR:MINOR"; @root: what of the filesystem is mounted; @point, in which odd characters are escaped;
 * @type; @options of the filesystem.
 */
struct mount {
	uint64_t id;
	const char *device;
	const char *root;
	const char *point;
	const char *type;
	const char *options;
};

/*
 * Call @look for every mount that the task @pid sees, until it returns something else than 0. Returns that, or a negative
 * errno: then there may be mounts that it has not seen.
 */
int mounts_each(int pid, int (*look)(void *ctx, const struct mount *mount), void *ctx);

#endif
