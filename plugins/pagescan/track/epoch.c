// SPDX-License-Identifier: GPL-2.0-only
/*
 * epoch.c - read and write pagescan.img. Calls protobuf-c, the kernel.
 *
 * The image carries no checksum: a damaged record either does not parse or differs from the keeper's, and both mean a
 * full dump; to be wrong it would have to turn into 128 other random bits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "epoch.h"
#include "pagescan.pb-c.h"

#define MAGIC	    "PAGESCAN"
#define MAGIC_SIZE  8
#define VERSION	    1
#define IMAGE_LIMIT (64 << 20) /* bytes; a million tasks */
#define TEMPORARY   EPOCH_IMAGE ".tmp"

int epoch_image_add(struct epoch_image *image, const struct epoch_record *record)
{
	struct epoch_record *v = reallocarray(image->v, image->nr + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v[image->nr++] = *record;
	image->v = v;
	return 0;
}

const struct epoch_record *epoch_image_find(const struct epoch_image *image, const struct identity *id)
{
	for (size_t i = 0; i < image->nr; i++) {
		if (image->v[i].pid == id->pid && image->v[i].start_time == id->start_time)
			return &image->v[i];
	}
	return NULL;
}

bool epoch_trusted(const struct epoch *epoch, const struct identity *id, const struct epoch_image *parent,
		   const char *no_parent_why, const char *lost, struct reason *why)
{
	const struct epoch_record *record = epoch_image_find(parent, id);

	if (*no_parent_why)
		reason_set(why, 0, "%s", no_parent_why);
	else if (!parent->nr)
		return false; /* no parent directory: a full round is what was asked for */
	else if (!record)
		reason_set(why, 0, "the parent images have no record of this task");
	else if (lost)
		reason_set(why, 0, "the tracking that the parent images began is lost: %s", lost);
	else if (memcmp(record->epoch.tracker, epoch->tracker, TRACKER_ID_SIZE))
		reason_set(why, 0, "the parent images were tracked by another tracker");
	else if (record->epoch.number != epoch->number)
		reason_set(why, 0,
			   "the parent images are of epoch %llu, the tracker is at %llu (a round in between failed or "
			   "went elsewhere)",
			   (unsigned long long)record->epoch.number, (unsigned long long)epoch->number);
	else
		return true;
	return false;
}

void epoch_image_fini(struct epoch_image *image)
{
	free(image->v);
	*image = (struct epoch_image){ 0 };
}

static int take_task(struct epoch_image *image, const Pagescan__Task *task)
{
	struct epoch_record record = { .pid = (int32_t)task->pid, .start_time = task->start_time };

	if (task->pid > INT32_MAX || task->tracker.len != TRACKER_ID_SIZE)
		return -EBADMSG;
	memcpy(record.epoch.tracker, task->tracker.data, TRACKER_ID_SIZE);
	record.epoch.number = task->epoch;
	return epoch_image_add(image, &record);
}

int epoch_image_parse(const uint8_t *data, size_t len, struct epoch_image *image, struct reason *why)
{
	Pagescan__Image *message;
	int err = 0;

	*image = (struct epoch_image){ 0 };
	if (len < MAGIC_SIZE || memcmp(data, MAGIC, MAGIC_SIZE))
		return reason_set(why, -EBADMSG, EPOCH_IMAGE " does not begin with its magic");
	message = pagescan__image__unpack(NULL, len - MAGIC_SIZE, data + MAGIC_SIZE);
	if (!message)
		return reason_set(why, -EBADMSG, EPOCH_IMAGE " is damaged");

	if (message->version != VERSION)
		err = reason_set(why, -EBADMSG, EPOCH_IMAGE " has version %u, this is version %u", message->version,
				 VERSION);
	for (size_t i = 0; !err && i < message->n_tasks; i++) {
		err = take_task(image, message->tasks[i]);
		if (err)
			reason_set(why, err, EPOCH_IMAGE " has a bad record for pid %u", message->tasks[i]->pid);
	}
	pagescan__image__free_unpacked(message, NULL);
	if (err)
		epoch_image_fini(image);
	return err;
}

static int read_file(int dir, const char *path, uint8_t **data, size_t *len)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t got;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		err = -errno;
	} else if (!S_ISREG(st.st_mode) || st.st_size > IMAGE_LIMIT) {
		err = -EBADMSG;
	} else {
		*data = malloc((size_t)st.st_size + 1);
		got = *data ? pread(fd, *data, (size_t)st.st_size, 0) : 0;
		if (!*data)
			err = -ENOMEM;
		else if (got < 0)
			err = -errno;
		*len = (size_t)got;
	}
	close(fd);
	return err;
}

int epoch_image_read(int dir, const char *path, struct epoch_image *image, struct reason *why)
{
	uint8_t *data = NULL;
	size_t len = 0;
	int err = read_file(dir, path, &data, &len);

	*image = (struct epoch_image){ 0 };
	if (err == -EBADMSG)
		reason_set(why, err, "%s is not a regular file of sensible size", path);
	else if (err)
		reason_set(why, err, "cannot read %s: %s", path, strerror(-err));
	else
		err = epoch_image_parse(data, len, image, why);
	free(data);
	return err;
}

static int write_file(int dir, const uint8_t *data, size_t len)
{
	int fd;

	/* Left by a run that was killed; O_EXCL keeps the file ours and follows no symbolic link. */
	unlinkat(dir, TEMPORARY, 0);
	fd = openat(dir, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;

	while (len) {
		ssize_t done = write(fd, data, len);

		if (done < 0) {
			int err = -errno;

			close(fd);
			unlinkat(dir, TEMPORARY, 0);
			return err;
		}
		data += done;
		len -= (size_t)done;
	}
	close(fd);
	return renameat(dir, TEMPORARY, dir, EPOCH_IMAGE) < 0 ? -errno : 0;
}

int epoch_image_write(int dir, const struct epoch_image *image, struct reason *why)
{
	Pagescan__Image message = PAGESCAN__IMAGE__INIT;
	Pagescan__Task *tasks = calloc(image->nr + 1, sizeof(*tasks));
	Pagescan__Task **list = calloc(image->nr + 1, sizeof(*list));
	uint8_t *data = NULL;
	int err = -ENOMEM;
	size_t len;

	if (!tasks || !list)
		goto out;
	for (size_t i = 0; i < image->nr; i++) {
		pagescan__task__init(&tasks[i]);
		tasks[i].pid = (uint32_t)image->v[i].pid;
		tasks[i].start_time = image->v[i].start_time;
		tasks[i].tracker.data = image->v[i].epoch.tracker;
		tasks[i].tracker.len = TRACKER_ID_SIZE;
		tasks[i].epoch = image->v[i].epoch.number;
		list[i] = &tasks[i];
	}
	message.version = VERSION;
	message.n_tasks = image->nr;
	message.tasks = list;

	len = MAGIC_SIZE + pagescan__image__get_packed_size(&message);
	data = malloc(len);
	if (!data)
		goto out;
	memcpy(data, MAGIC, MAGIC_SIZE);
	pagescan__image__pack(&message, data + MAGIC_SIZE);
	err = write_file(dir, data, len);
out:
	free(data);
	free(list);
	free(tasks);
	return err ? reason_set(why, err, "cannot write " EPOCH_IMAGE ": %s", strerror(-err)) : 0;
}
