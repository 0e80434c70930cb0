// SPDX-License-Identifier: GPL-2.0-only
/*
 * fold.c - pages into the files of earlier rounds. Calls pool, image, the kernel.
 *
 * That the earlier round's page is what the chain leads to: a page that was in no round in between has been dropped from
 * the pool (fill.c), so every pagemap in between says of it "in the parent".
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fold.h"
#include "image/image.h"

/* Where the new pagemap waits to be complete; in the round's directory. */
#define BESIDE "folding"

struct fold {
	const struct landing *landing;
	struct pool_task *task;
	const struct landing_source *source;
	int dir;
	int pages;
	/* Of earlier rounds, -1 until needed. */
	int files[POOL_ROUNDS + 1];
	/* Bytes that replace others, and that do not. */
	uint64_t old;
	uint64_t new;
	/* What remains of the round. */
	uint32_t pages_id;
	int rest;
	off_t rest_size;
	struct image_pagemap pagemap;
};

/* [start, end) of a run, of one @round in the pool; 0: it is not there, or the run is the parent's. */
typedef int (*piece_fn)(struct fold *fold, const struct image_run *run, uint64_t start, uint64_t end,
			unsigned int round);

static int each_piece(struct fold *fold, piece_fn act)
{
	const struct image_runs *runs = &fold->source->runs;
	int err = 0;

	for (size_t i = 0; !err && i < runs->nr; i++) {
		const struct image_run *run = &runs->v[i];

		for (uint64_t at = run->start, stop; !err && at < run->end; at = stop) {
			const unsigned int round = run->in_parent ? 0 : pool_round(fold->task, at);

			stop = run->in_parent ? run->end : pool_same_round(fold->task, at, run->end);
			err = act(fold, run, at, stop, round);
		}
	}
	return err;
}

/* Does the page replace one of an earlier round? */
static bool replaces(const struct fold *fold, unsigned int round)
{
	return round && round != fold->source->round;
}

static int weigh(struct fold *fold, const struct image_run *run, uint64_t start, uint64_t end, unsigned int round)
{
	if (replaces(fold, round))
		fold->old += end - start;
	else if (!run->in_parent)
		fold->new += end - start;
	return 0;
}

static int file_of(struct fold *fold, const struct landing_source *source)
{
	int *fd = &fold->files[source->round];
	char path[PATH_MAX], name[32];

	image_pages_name(name, source->runs.pages_id);
	snprintf(path, sizeof(path), "%s/%s", fold->landing->paths[source->round], name);
	if (*fd < 0)
		*fd = open(path, O_WRONLY | O_CLOEXEC);
	return *fd < 0 ? -errno : *fd;
}

/* Out of the pool, into a file. */
static int write_pages(const struct fold *fold, int fd, uint64_t start, uint64_t end, uint64_t offset)
{
	while (start < end) {
		size_t len = 0;
		const void *at = pool_at(fold->task, start, end, &len);
		ssize_t put = at ? pwrite(fd, at, len, (off_t)offset) : -1;

		if (put <= 0)
			return at ? -errno : -EFAULT;
		start += (uint64_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

static int put_back(struct fold *fold, const struct image_run *run, uint64_t start, uint64_t end, unsigned int round)
{
	const struct landing_source *source;
	const struct image_run *old;
	int fd, err = 0;

	(void)run;
	if (!replaces(fold, round))
		return 0;
	source = landing_source(fold->landing, fold->task->pid, round);
	fd = source ? file_of(fold, source) : -ENOENT;
	if (fd < 0)
		return fd;
	for (uint64_t at = start, stop; !err && at < end; at = stop) {
		const size_t i = image_runs_find(&source->runs, at);

		old = i < source->runs.nr ? &source->runs.v[i] : NULL;
		if (!old || old->start > at || old->in_parent)
			return -ENOENT;
		stop = old->end < end ? old->end : end;
		err = write_pages(fold, fd, at, stop, old->offset + (at - old->start));
	}
	return err;
}

/* Append bytes of the round's pages to those that remain. */
static int copy_rest(struct fold *fold, uint64_t offset, uint64_t len)
{
	while (len) {
		loff_t from = (loff_t)offset, to = fold->rest_size;
		ssize_t done = copy_file_range(fold->pages, &from, fold->rest, &to, len, 0);

		if (done <= 0)
			return done < 0 ? -errno : -EBADMSG;
		offset += (uint64_t)done;
		len -= (uint64_t)done;
		fold->rest_size += done;
	}
	return 0;
}

static int list(struct fold *fold, const struct image_run *run, uint64_t start, uint64_t end, unsigned int round)
{
	const bool present = !run->in_parent && !replaces(fold, round);
	int err = present ? copy_rest(fold, run->offset + (start - run->start), end - start) : 0;

	return err ? err : image_pagemap_add(&fold->pagemap, start, end, present ? IMAGE_PRESENT : IMAGE_IN_PARENT);
}

/* A pages file of the directory that is not there yet. */
static int make_rest(struct fold *fold)
{
	char name[32];

	fold->pages_id = fold->source->runs.pages_id;
	do {
		image_pages_name(name, ++fold->pages_id);
		fold->rest = openat(fold->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	} while (fold->rest < 0 && errno == EEXIST);
	return fold->rest < 0 ? -errno : 0;
}

/* The pagemap and the pages of what remains, beside those that are there. */
static int write_rest(struct fold *fold)
{
	int beside = mkdirat(fold->dir, BESIDE, 0700) < 0 ? -1 : openat(fold->dir, BESIDE, O_DIRECTORY | O_CLOEXEC);
	int err = beside < 0 ? -errno : make_rest(fold), end;

	if (!err)
		err = image_pagemap_open(&fold->pagemap, beside, fold->task->pid, fold->pages_id);
	if (!err)
		err = each_piece(fold, list);
	end = image_pagemap_close(&fold->pagemap);
	if (beside >= 0)
		close(beside);
	return err ? err : end;
}

/* From here on the round is what remains of it; or, after the failure @err, what it was. */
static int exchange(struct fold *fold, int err)
{
	char pagemap[32], beside[sizeof(BESIDE) + 32], old[32], rest[32];

	image_pagemap_name(pagemap, fold->task->pid);
	snprintf(beside, sizeof(beside), BESIDE "/%s", pagemap);
	image_pages_name(old, fold->source->runs.pages_id);
	image_pages_name(rest, fold->pages_id);
	if (!err && renameat(fold->dir, beside, fold->dir, pagemap) < 0)
		err = -errno;
	/* What is left behind is in nobody's way. */
	if (!err)
		(void)unlinkat(fold->dir, old, 0);
	else if (fold->rest >= 0)
		(void)unlinkat(fold->dir, rest, 0);
	(void)unlinkat(fold->dir, beside, 0);
	(void)unlinkat(fold->dir, BESIDE, AT_REMOVEDIR);
	return err;
}

/* The round's pages are its own, as its images say. */
static int claim(struct fold *fold, const struct image_run *run, uint64_t start, uint64_t end, unsigned int round)
{
	(void)run;
	return replaces(fold, round) ? pool_set_round(fold->task, start, end, fold->source->round) : 0;
}

/* The images have changed: what they hold now. */
static int read_again(const struct fold *fold, struct landing_source *source)
{
	struct image_runs runs;
	struct stat st;
	int err = fstat(fold->rest, &st) < 0 ? -errno : image_read_runs(fold->dir, fold->task->pid, &runs);

	if (err)
		return err;
	image_runs_fini(&source->runs);
	source->runs = runs;
	source->dev = st.st_dev;
	source->ino = st.st_ino;
	return 0;
}

int fold_round(const struct landing *landing, struct pool_task *task, int dir, int pages, struct landing_source *source)
{
	struct fold fold = {
		.landing = landing, .task = task, .source = source, .dir = dir, .pages = pages, .rest = -1
	};
	int err;

	memset(fold.files, -1, sizeof(fold.files));
	(void)each_piece(&fold, weigh);
	if (!fold.old)
		return 0;
	if (fold.old <= fold.new)
		return each_piece(&fold, claim);
	err = each_piece(&fold, put_back);
	if (!err)
		err = exchange(&fold, write_rest(&fold));
	err = err ? each_piece(&fold, claim) : read_again(&fold, source);
	for (size_t i = 0; i <= POOL_ROUNDS; i++) {
		if (fold.files[i] >= 0)
			close(fold.files[i]);
	}
	if (fold.rest >= 0)
		close(fold.rest);
	return err;
}
