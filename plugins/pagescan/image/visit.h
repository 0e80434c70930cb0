/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * visit.h - read those of CRIU's images that tell where memory is, and what it is.
 *
 * @dir is an open directory that stays the caller's, @name or a pid a file in it. Each function calls @visit for one
 * thing after the other, which returns 0 to go on or a negative errno that ends the reading and is returned. All return
 * 0, -ENOENT (there is no such file), -EBADMSG (it is not such an image), -EOPNOTSUPP (a pagemap with fields or flags that
 * are not known here, such as those of compressed pages), or another negative errno. Nothing that a file can hold makes them
 * crash, loop, or allocate more than a few times its size.
 */
#ifndef PAGESCAN_IMAGE_VISIT_H
#define PAGESCAN_IMAGE_VISIT_H

#include <stdbool.h>
#include <stdint.h>

#include "track/reason.h"

/* Pages of a pagemap image, [start, end) in bytes, ascending. @held: they are in this directory, not in its parent. */
struct visit_run {
	uint64_t start;
	uint64_t end;
	bool held;
};

int image_visit_runs(int dir, const char *name, int (*visit)(void *ctx, const struct visit_run *run), void *ctx);

/*
 * Can the task @pid leave pages to the images of @path, relative to @dir, whose version is known (image_check_version())?
 * That is no more than a look at the first pages of the task (there may be none): where pages are packed in a way that is
 * not known here, all are. A criu that does not know it either takes no notice, and would restore something else. Returns
 * 0, or a negative errno with @why.
 */
int image_check_pages(int dir, const char *path, int pid, struct reason *why);

/*
 * An area of mm-@pid.img, [start, end) in bytes, not empty, in the image's order. @file is the id in files.img of what
 * is mapped, 0 where no file is.
 */
struct visit_area {
	uint64_t start;
	uint64_t end;
	bool heap;
	bool stack;
	uint32_t file;
};

int image_visit_areas(int dir, int pid, int (*visit)(void *ctx, const struct visit_area *area), void *ctx);

/* The name that the task of core-@pid.img gave itself, whatever bytes it chose; cut to fit. */
int image_visit_command(int dir, int pid, char command[16]);

/* A regular file of files.img; @path is any bytes, and goes when @visit returns. */
int image_visit_files(int dir, int (*visit)(void *ctx, uint32_t id, const char *path), void *ctx);

#endif
