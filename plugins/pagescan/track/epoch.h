/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * epoch.h - the state of a task's tracker, and pagescan.img, which ties image directories to it.
 *
 * Every reset moves a task's epoch on. An image directory records the epoch that its images began; pages found clean
 * later are in those images only while the keeper still holds that very epoch.
 */
#ifndef PAGESCAN_TRACK_EPOCH_H
#define PAGESCAN_TRACK_EPOCH_H

#include <stddef.h>

#include "identity.h"
#include "reason.h"

#define EPOCH_IMAGE	"pagescan.img"
#define TRACKER_ID_SIZE 16

/* @tracker: random bytes, drawn when the task's tracking began. @number: how many resets there have been since. */
struct epoch {
	uint8_t tracker[TRACKER_ID_SIZE];
	uint64_t number;
};

/* Of one task in one image directory: its identity less the stack, and the epoch that the images began. */
struct epoch_record {
	int32_t pid;
	uint64_t start_time;
	struct epoch epoch;
};

/* The records of one directory. Initialise with zeros; owns @v until epoch_image_fini(). */
struct epoch_image {
	struct epoch_record *v;
	size_t nr;
};

/* Append one record. Returns 0 or -ENOMEM. */
int epoch_image_add(struct epoch_image *image, const struct epoch_record *record);

/* The record of this task, the image's, NULL where there is none. exec makes no difference: the keeper tells that. */
const struct epoch_record *epoch_image_find(const struct epoch_image *image, const struct identity *id);

/*
 * Clean means: in the parent images. So the parent must be exactly what the last reset of the task @id, whose tracker
 * is at @epoch, followed. @parent: the parent's records, none where there is no parent, with @no_parent_why (empty: no
 * parent is what was asked for). @lost: why the task is not tracked any more, NULL if it is. Returns whether pages
 * found clean are in the parent images; if not, @why tells the reason where there is one worth telling, else it is left
 * as it was.
 */
bool epoch_trusted(const struct epoch *epoch, const struct identity *id, const struct epoch_image *parent,
		   const char *no_parent_why, const char *lost, struct reason *why);

/*
 * Read @path relative to @dir, an open directory that stays the caller's. Returns 0, -ENOENT (no such file), -EBADMSG
 * (not a valid image) or another negative errno, each with @why and an empty @image. Nothing that a file can hold makes
 * it crash or allocate more than a few times its size.
 */
int epoch_image_read(int dir, const char *path, struct epoch_image *image, struct reason *why);

/* Parse the @len bytes of such a file. Returns 0, -EBADMSG or -ENOMEM, as above. Split out for tests and fuzzing. */
int epoch_image_parse(const uint8_t *data, size_t len, struct epoch_image *image, struct reason *why);

/* Write pagescan.img into @dir, whole or not at all. Returns 0 or a negative errno with @why. */
int epoch_image_write(int dir, const struct epoch_image *image, struct reason *why);

/* Free the records; the image is empty then. */
void epoch_image_fini(struct epoch_image *image);

#endif
