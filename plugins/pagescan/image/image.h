/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * image.h - write the images of a pre-dump as CRIU would: inventory.img, pagemap-PID.img, stats-dump.
 *
 * All paths are relative to @dir, an open directory that stays the caller's. Files must not be there yet. Calls return
 * 0 or a negative errno. Sources: criu/include/magic.h, criu/protobuf.c (each message behind its length), criu/image.c.
 */
#ifndef PAGESCAN_IMAGE_IMAGE_H
#define PAGESCAN_IMAGE_IMAGE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "track/reason.h"

#define IMAGE_INVENTORY "inventory.img"
#define IMAGE_STATS	"stats-dump"
#define IMAGE_PARENT	"parent"

/*
 * @uptime: microseconds since boot; CRIU takes a task that was started later for another one with the same pid. The
 * mode is "read", as unreadable memory is left out in both (criu/mem.c, generate_vma_iovs).
 */
int image_write_inventory(int dir, uint64_t uptime);

/*
 * Are the images of the directory @path, relative to @dir, of a version that is known here? CRIU has 0 to 2; 3 is that
 * of images whose pages are compressed (criu-dev, July 2026). Returns 0, -EOPNOTSUPP (another version), -EBADMSG (not an
 * inventory), or another negative errno, each but -ENOENT with @why.
 */
int image_check_version(int dir, const char *path, struct reason *why);

/*
 * Counts are pages; @stopped is how long threads stood still, all together, and @written how long the round took, in us.
 * @freezing: how long it took to stop the tree; 0 where nobody stopped it.
 */
struct image_stats {
	uint64_t freezing;
	uint64_t stopped;
	uint64_t written;
	uint64_t pages_parent;
	uint64_t pages_written;
};

int image_write_stats(int dir, const struct image_stats *stats);

/* What criu says of a dump in @path: @stopped is how long the tree was frozen. -EBADMSG: not such a file. */
int image_read_stats(int dir, const char *path, struct image_stats *stats);

/*
 * pagemap-PID.img, which is being written. Neighbours of one kind become one entry. @file is NULL while none is open.
 */
struct image_pagemap {
	FILE *file;
	uint64_t start;
	uint64_t end;
	uint32_t flags;
};

#define IMAGE_IN_PARENT 1u
#define IMAGE_LAZY	2u /* might have been left out, for lazy restores; where it is not present it is elsewhere */
#define IMAGE_PRESENT	4u

/* What such a file begins with (criu/include/magic.h). */
#define IMG_COMMON_MAGIC 0x54564319u
#define PAGEMAP_MAGIC	 0x56084025u

struct ProtobufCMessage;

/* Write one message behind its length, or the entries for [start, end), bytes: several if one cannot count them. */
int image_put(FILE *file, const struct ProtobufCMessage *message);
int image_put_entry(FILE *file, uint64_t start, uint64_t end, uint32_t flags);

/* Begin the file for the task that CRIU knows as @pid, whose pages go to pages-@pages_id.img. */
int image_pagemap_open(struct image_pagemap *pagemap, int dir, int pid, uint32_t pages_id);

/* [start, end), bytes, behind what was added before. @flags: IMAGE_IN_PARENT or IMAGE_PRESENT. */
int image_pagemap_add(struct image_pagemap *pagemap, uint64_t start, uint64_t end, uint32_t flags);

/* Complete the file. Only after 0 is it whole. Harmless where none is open. */
int image_pagemap_close(struct image_pagemap *pagemap);

/* The names of the two files of a task. @name has room for 32 bytes. */
void image_pagemap_name(char name[32], int pid);
void image_pages_name(char name[32], uint32_t pages_id);

/* The task whose pagemap-PID.img a file of this name is; 0 if it is none. */
int image_pagemap_pid(const char *name);

/* Whether a file of this name is pages-N.img, for any N. */
bool image_is_pages(const char *name);

/* Whether a page of @size bytes holds zeros alone: such a page is a hole in the files that are written here. */
bool image_page_is_zero(const unsigned char *page, size_t size);

/* The directory @path in @at, as a list of its own, the caller's to close; or NULL with errno. */
DIR *image_list(int at, const char *path);

#endif
