// SPDX-License-Identifier: GPL-2.0-only
/*
 * receive.c - the destination's side of the wire. Calls known, LZ4, the kernel.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <pagescan.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image/image.h"
#include "receive.h"

/* Nothing has come over the pages' connections for so long: less than the source waits for an answer. */
#define PATIENCE_MS 20000

int receive_init(struct receive *receive, int base)
{
	*receive = (struct receive){ .base = base,
				     .dir = -1,
				     .file = -1,
				     .unpacked = malloc(WIRE_MAX),
				     .patience = PATIENCE_MS,
				     .lock = PTHREAD_MUTEX_INITIALIZER,
				     .changed = PTHREAD_COND_INITIALIZER };
	return receive->unpacked ? 0 : -ENOMEM;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void receive_fini(struct receive *receive)
{
	close_one(&receive->file);
	close_one(&receive->dir);
	free(receive->unpacked);
	receive->unpacked = NULL;
}

static int nonsense(struct reason *why)
{
	return reason_set(why, -EPROTO, "the source says what makes no sense");
}

static int begin_round(struct receive *receive, uint64_t number, struct reason *why)
{
	char name[16];

	if (receive->dir >= 0 || number != receive->round + 1)
		return nonsense(why);
	snprintf(name, sizeof(name), "%u", ++receive->round);
	receive->dir = mkdirat(receive->base, name, 0700) < 0 ?
			       -1 :
			       openat(receive->base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return receive->dir < 0 ?
		       reason_set(why, -errno, "cannot make a directory for round %s: %s", name, strerror(errno)) :
		       0;
}

/* CRIU's names are of these characters, ours too. */
static bool is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_' && name[i] != '.')
			return false;
	}
	return len && len < sizeof(((struct receive *)0)->name) && *name != '.';
}

static int begin_file(struct receive *receive, const struct wire *wire, struct reason *why)
{
	const char *name = (const char *)wire->buffer;
	int file;

	if (receive->dir < 0 || receive->file >= 0 || !is_name(name, wire->len) || !strcmp(name, IMAGE_PARENT))
		return nonsense(why);
	memcpy(receive->name, name, wire->len + 1);
	file = openat(receive->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0)
		return reason_set(why, -errno, "cannot make the image %s: %s", name, strerror(errno));
	pthread_mutex_lock(&receive->lock);
	receive->file = file;
	receive->number++;
	receive->arrived = 0;
	pthread_cond_broadcast(&receive->changed);
	pthread_mutex_unlock(&receive->lock);
	return 0;
}

static int write_at(const struct receive *receive, const unsigned char *data, size_t len, uint64_t offset,
		    struct reason *why)
{
	if (offset > INT64_MAX - len)
		return nonsense(why);
	while (len) {
		ssize_t done = pwrite(receive->file, data, len, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return reason_set(why, -errno, "cannot write the image %s: %s", receive->name, strerror(errno));
		data += done;
		len -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

/* What a frame holds, plain or not, for the file that is open. Returns how many bytes, or a negative errno with @why. */
static ssize_t take_data(const struct receive *receive, const struct wire *wire, enum wire_type type,
			 unsigned char *unpacked, struct reason *why)
{
	const uint64_t offset = wire_number(wire, 0, 8), page = pagescan_page_size();
	uint64_t size = wire_number(wire, 12, 4);
	int err;

	if (type == WIRE_DATA) {
		err = write_at(receive, wire->buffer + 12, wire->len - 12, offset, why);
		return err ? err : (ssize_t)wire->len - 12;
	}
	if (type == WIRE_SAME) {
		size = (wire->len - 12) / DIGEST * page;
		if (!receive->known || (wire->len - 12) % DIGEST || size > WIRE_MAX)
			return nonsense(why);
		err = known_read(receive->known, (const unsigned char(*)[DIGEST])(wire->buffer + 12), size / page,
				 unpacked, why);
		if (!err)
			err = write_at(receive, unpacked, size, offset, why);
		return err ? err : (ssize_t)size;
	}
	if (wire->len < 16 || size > WIRE_MAX ||
	    LZ4_decompress_safe((const char *)wire->buffer + 16, (char *)unpacked, (int)wire->len - 16, WIRE_MAX) !=
		    (int)size)
		return nonsense(why);
	err = write_at(receive, unpacked, size, offset, why);
	return err ? err : (ssize_t)size;
}

/* A file that is open stays so while somebody writes to it. Returns whether this one is. */
static bool hold_file(struct receive *receive, uint32_t number, bool wait)
{
	bool there;

	pthread_mutex_lock(&receive->lock);
	while (wait && !receive->err && number > receive->number)
		pthread_cond_wait(&receive->changed, &receive->lock);
	there = !receive->err && receive->file >= 0 && number == receive->number;
	receive->writing += there;
	pthread_mutex_unlock(&receive->lock);
	return there;
}

static void release_file(struct receive *receive, ssize_t bytes)
{
	pthread_mutex_lock(&receive->lock);
	receive->writing--;
	receive->arrived += bytes > 0 ? (uint64_t)bytes : 0;
	pthread_cond_broadcast(&receive->changed);
	pthread_mutex_unlock(&receive->lock);
}

static int take_pages(struct receive *receive, const struct wire *wire, enum wire_type type, bool wait,
		      unsigned char *unpacked, struct reason *why)
{
	ssize_t bytes;

	if (wire->len < 12 || !hold_file(receive, (uint32_t)wire_number(wire, 8, 4), wait))
		return nonsense(why);
	bytes = take_data(receive, wire, type, unpacked, why);
	release_file(receive, bytes);
	return bytes < 0 ? (int)bytes : 0;
}

int receive_pages(struct receive *receive, const struct wire *wire, enum wire_type type, unsigned char *unpacked,
		  struct reason *why)
{
	return type == WIRE_DATA || type == WIRE_LZ4 || type == WIRE_SAME ?
		       take_pages(receive, wire, type, true, unpacked, why) :
		       nonsense(why);
}

void receive_fail(struct receive *receive, int err, const struct reason *why)
{
	pthread_mutex_lock(&receive->lock);
	if (!receive->err) {
		receive->err = err;
		receive->why = *why;
	}
	pthread_cond_broadcast(&receive->changed);
	pthread_mutex_unlock(&receive->lock);
}

/* All @bytes of the file have to come before it can be closed. With the lock held. */
static int await(struct receive *receive, uint64_t bytes, struct reason *why)
{
	while (receive->threads && !receive->err && (receive->arrived < bytes || receive->writing)) {
		const uint64_t before = receive->arrived;
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += receive->patience % 1000 * 1000000L;
		until.tv_sec += receive->patience / 1000 + until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_clockwait(&receive->changed, &receive->lock, CLOCK_MONOTONIC, &until) &&
		    receive->arrived == before)
			return reason_set(why, -ETIMEDOUT, "pages that were sent do not arrive (--tcp)");
	}
	if (receive->err)
		return reason_set(why, receive->err, "%s", receive->why.text);
	return receive->arrived == bytes ? 0 : nonsense(why);
}

/* Nobody writes to the file any more. Returns it, now the caller's, or a negative errno with @why. */
static int give_up_file(struct receive *receive, uint64_t bytes, struct reason *why)
{
	int err, file = receive->file;

	pthread_mutex_lock(&receive->lock);
	err = await(receive, bytes, why);
	if (!err)
		receive->file = -1;
	pthread_mutex_unlock(&receive->lock);
	return err ? err : file;
}

static int end_file(struct receive *receive, const struct wire *wire, struct reason *why)
{
	const uint64_t size = wire_number(wire, 8, 8);
	int file, err = 0;

	if (receive->file < 0 || wire->len != 16 || size > INT64_MAX)
		return nonsense(why);
	file = give_up_file(receive, wire_number(wire, 0, 8), why);
	if (file < 0)
		return file;
	if (ftruncate(file, (off_t)size) < 0)
		err = -errno;
	if (close(file) < 0 && !err)
		err = -errno;
	return err ? reason_set(why, err, "cannot write the image %s: %s", receive->name, strerror(-err)) : 0;
}

static int drop_file(struct receive *receive, const struct wire *wire, struct reason *why)
{
	int file;

	if (receive->file < 0 || wire->len != 8)
		return nonsense(why);
	file = give_up_file(receive, wire_number(wire, 0, 8), why);
	if (file < 0)
		return file;
	close(file);
	return unlinkat(receive->dir, receive->name, 0) < 0 ?
		       reason_set(why, -errno, "cannot remove %s: %s", receive->name, strerror(errno)) :
		       0;
}

static int link_parent(const struct receive *receive, struct reason *why)
{
	char target[32];

	if (receive->dir < 0 || receive->round < 2)
		return nonsense(why);
	snprintf(target, sizeof(target), "../%u", receive->round - 1);
	return symlinkat(target, receive->dir, IMAGE_PARENT) < 0 ?
		       reason_set(why, -errno, "cannot make the link to the parent images: %s", strerror(errno)) :
		       0;
}

static int end_round(struct receive *receive, struct reason *why)
{
	if (receive->dir < 0 || receive->file >= 0)
		return nonsense(why);
	close_one(&receive->dir);
	return 0;
}

int receive_frame(struct receive *receive, const struct wire *wire, enum wire_type type, struct reason *why)
{
	switch (type) {
	case WIRE_ROUND:
		return begin_round(receive, wire->len == 4 ? wire_number(wire, 0, 4) : 0, why);
	case WIRE_FILE:
		return begin_file(receive, wire, why);
	case WIRE_DATA:
	case WIRE_LZ4:
	case WIRE_SAME:
		return take_pages(receive, wire, type, false, receive->unpacked, why);
	case WIRE_FILE_END:
		return end_file(receive, wire, why);
	case WIRE_FILE_DROP:
		return drop_file(receive, wire, why);
	case WIRE_PARENT:
		return link_parent(receive, why);
	case WIRE_ROUND_END:
	case WIRE_LAST:
		return end_round(receive, why);
	default:
		return nonsense(why);
	}
}
