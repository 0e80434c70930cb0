/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * outline.h - a task's private anonymous areas, told ahead of the last images: outline-PID.img in each round.
 */
#ifndef PAGESCAN_LAND_OUTLINE_H
#define PAGESCAN_LAND_OUTLINE_H

#include <stddef.h>
#include <stdio.h>

#include "pool.h"

/* Ascending; owns @v until outline_fini(). */
struct outline {
	struct pool_range *v;
	size_t nr;
};

/*
 * Read it from the smaps of the process behind @proc_dir (an open /proc/PID; stays the caller's). That walks its page
 * tables, some 8 ns a page, while it runs. Returns 0 or a negative errno.
 */
int outline_read(int proc_dir, struct outline *outline);

/* Parse smaps from @file. Returns 0, -EINVAL or -ENOMEM. Split out for tests. */
int outline_parse(FILE *file, struct outline *outline);

/* Into @dir, and out of it. -ENOENT: the round has none of the task. -EBADMSG: not a valid one. */
int outline_write(int dir, int pid, const struct outline *outline);
int outline_load(int dir, int pid, struct outline *outline);

void outline_fini(struct outline *outline);

#endif
