/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * descriptors.h - what a task has open.
 */
#ifndef PAGESCAN_TRACK_DESCRIPTORS_H
#define PAGESCAN_TRACK_DESCRIPTORS_H

#include <stddef.h>

/*
 * Call @look for every descriptor of the task @pid, with its number in decimal and what it leads to (readlink(2), cut
 * after some 100 bytes), until it returns something else than 0. Returns that, or a negative errno: then there may be
 * descriptors that it has not seen. In a task that runs it may miss one that is opened meanwhile.
 */
int descriptors_each(int pid, int (*look)(void *ctx, const char *fd, const char *link), void *ctx);

/*
 * What /proc/PID/fdinfo says of the descriptor in the line of @field (proc_pid_fdinfo(5)). Fills @text, which is cut to
 * @size bytes. Returns 0 or a negative errno; -EIO where there is no such line, -ENOENT where the descriptor is closed by now.
 */
int descriptors_info(int pid, const char *fd, const char *field, char *text, size_t size);

#endif
