// SPDX-License-Identifier: GPL-2.0-only
/*
 * read.c - read CRIU's images. Calls protobuf-c, libc.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagescan.h>

#include "criu.pb-c.h"
#include "image.h"
#include "read.h"

/* criu/include/magic.h */
#define MM_MAGIC     0x57492820u
#define PSTREE_MAGIC 0x50273030u

/* A task may have a million areas, of some 50 bytes each. */
#define MESSAGE_MAX (256u << 20)

/* A file of messages, each behind its length. @buffer has room for the longest so far. */
struct messages {
	FILE *file;
	uint8_t *buffer;
	size_t room;
};

static int messages_open(struct messages *in, int dir, const char *name, uint32_t magic)
{
	uint32_t head[2];
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	*in = (struct messages){ 0 };
	if (fd < 0)
		return -errno;
	/* Neither a device nor a pipe that never ends. */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		in->file = fdopen(fd, "r");
	if (!in->file) {
		close(fd);
		return -EBADMSG;
	}
	if (fread(head, sizeof(*head), 2, in->file) == 2 && head[0] == IMG_COMMON_MAGIC && head[1] == magic)
		return 0;
	fclose(in->file);
	return -EBADMSG;
}

static void messages_close(struct messages *in)
{
	fclose(in->file);
	free(in->buffer);
}

/* Returns 1 and the next message (@in's; the caller frees nothing), 0 at the end, or a negative errno. */
static int messages_next(struct messages *in, size_t *len)
{
	uint32_t size;
	size_t got = fread(&size, 1, sizeof(size), in->file);

	if (!got && feof(in->file))
		return 0;
	if (got != sizeof(size) || size > MESSAGE_MAX)
		return -EBADMSG;
	if (size > in->room) {
		uint8_t *buffer = realloc(in->buffer, size);

		if (!buffer)
			return -ENOMEM;
		in->buffer = buffer;
		in->room = size;
	}
	*len = size;
	return fread(in->buffer, 1, size, in->file) == size ? 1 : -EBADMSG;
}

/* Make room for one more in an array that doubles. Returns the array, or NULL with the old one still there. */
static void *grown(void *v, size_t nr, size_t size)
{
	if (nr & (nr - 1) || (nr && nr < 64))
		return v;
	return reallocarray(v, nr ? nr * 2 : 64, size);
}

static int take_run(struct image_runs *runs, const Criu__PagemapEntry *entry, uint64_t *offset)
{
	const uint64_t page = pagescan_page_size();
	const uint64_t pages = entry->has_wide_nr_pages ? entry->wide_nr_pages : entry->nr_pages;
	const uint32_t flags = entry->has_in_parent && entry->in_parent ? IMAGE_IN_PARENT :
			       entry->has_flags				? entry->flags :
									  IMAGE_PRESENT;
	struct image_run *v;

	if (entry->base.n_unknown_fields || (flags != IMAGE_IN_PARENT && (flags & ~IMAGE_LAZY) != IMAGE_PRESENT))
		return -EOPNOTSUPP;
	if (entry->vaddr % page || pages > (UINT64_MAX - entry->vaddr) / page || pages > (INT64_MAX - *offset) / page ||
	    (runs->nr && entry->vaddr < runs->v[runs->nr - 1].end))
		return -EBADMSG;
	v = grown(runs->v, runs->nr, sizeof(*v));
	if (!v)
		return -ENOMEM;
	runs->v = v;
	v[runs->nr++] = (struct image_run){
		.start = entry->vaddr,
		.end = entry->vaddr + pages * page,
		.offset = *offset,
		.in_parent = flags == IMAGE_IN_PARENT,
	};
	if (flags & IMAGE_PRESENT)
		*offset += pages * page;
	return 0;
}

int image_read_runs(int dir, int pid, struct image_runs *runs)
{
	Criu__PagemapHead *head = NULL;
	struct messages in;
	uint64_t offset = 0;
	char name[32];
	size_t len;
	int err;

	*runs = (struct image_runs){ 0 };
	image_pagemap_name(name, pid);
	err = messages_open(&in, dir, name, PAGEMAP_MAGIC);
	if (err)
		return err;
	if (messages_next(&in, &len) == 1)
		head = criu__pagemap_head__unpack(NULL, len, in.buffer);
	err = !head ? -EBADMSG : head->base.n_unknown_fields ? -EOPNOTSUPP : 1;
	if (head) {
		runs->pages_id = head->pages_id;
		criu__pagemap_head__free_unpacked(head, NULL);
	}
	while (err > 0 && (err = messages_next(&in, &len)) > 0) {
		Criu__PagemapEntry *entry = criu__pagemap_entry__unpack(NULL, len, in.buffer);
		int bad = entry ? take_run(runs, entry, &offset) : -EBADMSG;

		if (entry)
			criu__pagemap_entry__free_unpacked(entry, NULL);
		if (bad)
			err = bad;
	}
	messages_close(&in);
	runs->bytes = offset;
	if (err)
		image_runs_fini(runs);
	return err;
}

void image_runs_fini(struct image_runs *runs)
{
	free(runs->v);
	*runs = (struct image_runs){ 0 };
}

size_t image_runs_find(const struct image_runs *runs, uint64_t addr)
{
	size_t low = 0, high = runs->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (runs->v[middle].end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

int image_read_areas(int dir, int pid, struct image_areas *areas)
{
	Criu__MmEntry *mm = NULL;
	struct messages in;
	char name[32];
	size_t len;
	int err;

	*areas = (struct image_areas){ 0 };
	snprintf(name, sizeof(name), "mm-%d.img", pid);
	err = messages_open(&in, dir, name, MM_MAGIC);
	if (err)
		return err;
	if (messages_next(&in, &len) == 1)
		mm = criu__mm_entry__unpack(NULL, len, in.buffer);
	messages_close(&in);
	if (!mm)
		return -EBADMSG;
	areas->v = calloc(mm->n_vmas + 1, sizeof(*areas->v));
	for (size_t i = 0; areas->v && i < mm->n_vmas; i++)
		areas->v[areas->nr++] = (struct image_area){
			mm->vmas[i]->start, mm->vmas[i]->end,	 mm->vmas[i]->prot,
			mm->vmas[i]->flags, mm->vmas[i]->status, mm->vmas[i]->madv,
		};
	criu__mm_entry__free_unpacked(mm, NULL);
	return areas->v ? 0 : -ENOMEM;
}

void image_areas_fini(struct image_areas *areas)
{
	free(areas->v);
	*areas = (struct image_areas){ 0 };
}

static int take_task(struct image_tree *tree, const Criu__PstreeEntry *entry)
{
	struct image_task *v = grown(tree->v, tree->nr, sizeof(*v));

	if (!v)
		return -ENOMEM;
	tree->v = v;
	v[tree->nr++] = (struct image_task){ (int)entry->pid, (int)entry->ppid };
	return 0;
}

int image_read_tree(int dir, struct image_tree *tree)
{
	struct messages in;
	size_t len;
	int err;

	*tree = (struct image_tree){ 0 };
	err = messages_open(&in, dir, "pstree.img", PSTREE_MAGIC);
	if (err)
		return err;
	while ((err = messages_next(&in, &len)) > 0) {
		Criu__PstreeEntry *entry = criu__pstree_entry__unpack(NULL, len, in.buffer);

		err = entry ? take_task(tree, entry) : -EBADMSG;
		if (entry)
			criu__pstree_entry__free_unpacked(entry, NULL);
		if (err)
			break;
	}
	messages_close(&in);
	if (err)
		image_tree_fini(tree);
	return err;
}

void image_tree_fini(struct image_tree *tree)
{
	free(tree->v);
	*tree = (struct image_tree){ 0 };
}
