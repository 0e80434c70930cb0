/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * files.h - a sink that writes pagemap-PID.img and pages-N.img.
 */
#ifndef PAGESCAN_COPY_FILES_H
#define PAGESCAN_COPY_FILES_H

#include "image/image.h"
#include "sink.h"

/* @dir: the image directory, open; stays the caller's. The rest is of the task that is being written. */
struct files {
	struct sink sink;
	int dir;
	int pid;
	uint32_t pages_id;
	int pages;
	off_t size;
	struct image_pagemap pagemap;
};

void files_init(struct files *files, int dir);

/*
 * The next pages of @chunk, from the offset *at on, that are not zeros: [*at, *end) in its buffer. Returns whether there
 * are any.
 */
bool files_next(const struct chunk *chunk, size_t *at, size_t *end);

#endif
