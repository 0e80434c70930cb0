// SPDX-License-Identifier: GPL-2.0-only
/*
 * omit.c - what CRIU was not told of, image by image. Calls entries, parents, CRIU, CRIU's log, libc.
 *
 * Why an entry of ours is right whatever CRIU thinks of its parent: a page is clean if the images behind the link of
 * this very directory hold its bytes, and a restore follows that link for every entry that refers to a parent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/entries.h"
#include "image/image.h"
#include "log.h"
#include "omit.h"
#include "parents.h"
#include "same_file.h"

/* An image that CRIU writes: which file that is, what its parent has, and what was omitted, in the order of asking. */
struct omitted {
	int pid;
	int fd;
	struct stat id;
	const struct image_entries *parent;
	struct pagescan_region *v;
	size_t nr;
	size_t room;
	struct omitted *next;
};

static struct omitted *images;

static void image_free(struct omitted *image)
{
	free(image->v);
	free(image);
}

void omit_forget(void)
{
	while (images) {
		struct omitted *image = images;

		images = image->next;
		image_free(image);
	}
}

static struct omitted *image_find(int pid)
{
	struct omitted *image = images;

	while (image && image->pid != pid)
		image = image->next;
	return image;
}

static void image_drop(int pid)
{
	for (struct omitted **at = &images; *at; at = &(*at)->next) {
		struct omitted *image = *at;

		if (image->pid != pid)
			continue;
		*at = image->next;
		image_free(image);
		return;
	}
}

int omit_begin(int dir, int fd, int pid)
{
	struct omitted *image;
	int err;

	image_drop(pid);
	if (!criu.page_in_parent || !criu.page_in_parent(false))
		return -EOPNOTSUPP;
	image = calloc(1, sizeof(*image));
	if (!image)
		return -ENOMEM;
	image->pid = pid;
	image->fd = fd;
	err = fstat(fd, &image->id) ? -errno : parents_entries(dir, pid, &image->parent);
	if (err == -EOPNOTSUPP)
		pr_warn("criu is told of all clean pages: the parent's image of %d has what is not known here\n", pid);
	/* What an earlier dump left here would make images valid that are not complete. CRIU has begun to overwrite them. */
	if (!err && unlinkat(dir, CRIU_INVENTORY, 0) && errno != ENOENT)
		err = -errno;
	if (err) {
		image_free(image);
		return err;
	}
	image->next = images;
	images = image;
	parents_expect(pid);
	return 0;
}

static bool omit_one(struct omitted *image, const struct pagescan_region *region)
{
	if ((region->categories & (PAGESCAN_SOFT_DIRTY | PAGESCAN_GUARD)) ||
	    !image_entries_cover(image->parent, region->start, region->end))
		return false;
	if (image->nr == image->room) {
		size_t room = image->room ? image->room * 2 : 64;
		struct pagescan_region *v = reallocarray(image->v, room, sizeof(*v));

		if (!v)
			return false;
		image->v = v;
		image->room = room;
	}
	image->v[image->nr++] = *region;
	return true;
}

size_t omit_clean(int pid, struct pagescan_region *vec, size_t nr)
{
	struct omitted *image = image_find(pid);
	size_t left = 0;

	for (size_t i = 0; i < nr; i++) {
		if (!image || !omit_one(image, &vec[i]))
			vec[left++] = vec[i];
	}
	return left;
}

static int by_start(const void *a, const void *b)
{
	const struct pagescan_region *one = a, *other = b;

	return one->start < other->start ? -1 : one->start > other->start;
}

/* CRIU asks about some areas twice (its window of 2 MiB ends inside one), so the same may have been omitted again. */
static int in_order(struct omitted *image, struct pagescan_regions *regions)
{
	uint64_t from = 0;
	int err = 0;

	if (image->nr)
		qsort(image->v, image->nr, sizeof(*image->v), by_start);
	for (size_t i = 0; !err && i < image->nr; i++) {
		const struct pagescan_region *region = &image->v[i];
		uint64_t start = region->start > from ? region->start : from;

		if (start >= region->end)
			continue;
		err = pagescan_regions_add(regions, start, region->end, 0);
		from = region->end;
	}
	return err;
}

/* The file that CRIU has written, and closed: what it would write behind our back would be lost, or destroy the file. */
static int open_written(int dir, const struct omitted *image, const char *name)
{
	struct stat st;
	int fd, err;

	/* Before ours, which may get the same number. */
	if (!fstat(image->fd, &st) && is_same_file(&st, &image->id))
		return -EBUSY;
	fd = openat(dir, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? -errno : is_same_file(&st, &image->id) ? 0 : -ESTALE;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int complete(int dir, struct omitted *image, const char *name)
{
	struct pagescan_regions regions = { 0 };
	struct image_entries entries;
	int fd = open_written(dir, image, name);
	int err = fd < 0 ? fd : image_entries_read(fd, &entries);

	if (!err) {
		err = in_order(image, &regions);
		if (!err)
			err = image_entries_fill(fd, &entries, &regions);
		image_entries_fini(&entries);
	}
	if (fd >= 0)
		close(fd);
	if (!err && criu.cnt_add) {
		unsigned long pages = pagescan_regions_bytes(&regions) / pagescan_page_size();

		criu.cnt_add(CRIU_PAGES_SCANNED, pages);
		criu.cnt_add(CRIU_PAGES_SKIPPED_PARENT, pages);
	}
	pagescan_regions_fini(&regions);
	return err;
}

int omit_complete(int dir)
{
	while (images) {
		char name[32];
		int err;

		image_pagemap_name(name, images->pid);
		err = images->nr ? complete(dir, images, name) : 0;
		if (err) {
			pr_err("%s cannot be completed by what the parent images have: %s\n", name,
			       err == -EOPNOTSUPP ? "this CRIU puts into it what is not known here" : strerror(-err));
			return err;
		}
		image_drop(images->pid);
	}
	return 0;
}
