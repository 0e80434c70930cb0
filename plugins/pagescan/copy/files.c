// SPDX-License-Identifier: GPL-2.0-only
/*
 * files.c - pages into CRIU's image files. Calls image, the kernel.
 *
 * A page of zeros becomes a hole in the file: CRIU's format has no entry for one, and reads a hole as zeros.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "track/live.h"

static struct files *files_of(struct sink *sink)
{
	return (struct files *)sink;
}

static int failed(struct reason *why, int err, const char *name)
{
	return reason_set(why, err, "cannot write %s: %s", name, strerror(-err));
}

static int files_begin(struct sink *sink, int pid, struct reason *why)
{
	struct files *files = files_of(sink);
	char name[32];
	int err;

	files->pid = pid;
	files->size = 0;
	image_pages_name(name, ++files->pages_id);
	files->pages = openat(files->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (files->pages < 0)
		return failed(why, -errno, name);
	err = image_pagemap_open(&files->pagemap, files->dir, pid, files->pages_id);
	image_pagemap_name(name, pid);
	return err ? failed(why, err, name) : 0;
}

static int files_take(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	struct files *files = files_of(sink);
	int err = 0;

	for (size_t i = 0; !err && i < chunk->nr; i++)
		err = image_pagemap_add(&files->pagemap, chunk->runs[i].start, chunk->runs[i].end,
					chunk->runs[i].categories == LIVE_COPY ? IMAGE_PRESENT : IMAGE_IN_PARENT);
	chunk->place = files->size;
	files->size += (off_t)chunk->bytes;
	return err ? failed(why, err, "the pagemap image") : 0;
}

bool files_next(const struct chunk *chunk, size_t *at, size_t *end)
{
	const size_t page = pagescan_page_size();

	while (*at < chunk->bytes && image_page_is_zero(chunk->buffer + *at, page))
		*at += page;
	for (*end = *at; *end < chunk->bytes && !image_page_is_zero(chunk->buffer + *end, page); *end += page)
		;
	return *at < *end;
}

static int files_store(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	for (size_t at = 0, end = 0; files_next(chunk, &at, &end);) {
		while (at < end) {
			ssize_t done =
				pwrite(files_of(sink)->pages, chunk->buffer + at, end - at, chunk->place + (off_t)at);

			if (done < 0)
				return failed(why, -errno, "the pages image");
			at += (size_t)done;
		}
	}
	return 0;
}

static int files_end(struct sink *sink, struct reason *why)
{
	struct files *files = files_of(sink);
	int err = image_pagemap_close(&files->pagemap);

	/* The last pages may be a hole. */
	if (ftruncate(files->pages, files->size) < 0 && !err)
		err = -errno;
	if (close(files->pages) < 0 && !err)
		err = -errno;
	files->pages = -1;
	return err ? failed(why, err, "the images of a task") : 0;
}

static void files_abandon(struct sink *sink)
{
	struct files *files = files_of(sink);
	char name[32];

	if (files->pages >= 0)
		close(files->pages);
	files->pages = -1;
	image_pagemap_close(&files->pagemap);
	image_pages_name(name, files->pages_id);
	unlinkat(files->dir, name, 0);
	image_pagemap_name(name, files->pid);
	unlinkat(files->dir, name, 0);
}

static int files_finish(struct sink *sink, struct reason *why)
{
	(void)sink;
	(void)why;
	return 0;
}

void files_init(struct files *files, int dir)
{
	*files = (struct files){
		.sink = { files_begin, files_take, files_store, files_end, files_abandon, files_finish },
		.dir = dir,
		.pages = -1,
	};
}
