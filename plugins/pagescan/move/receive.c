// SPDX-License-Identifier: GPL-2.0-only
/*
 * receive.c - the destination's side of the wire. Calls LZ4, the kernel.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "receive.h"

int receive_init(struct receive *receive, int base)
{
	*receive = (struct receive){ .base = base, .dir = -1, .file = -1, .unpacked = malloc(WIRE_MAX) };
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

	if (receive->dir < 0 || receive->file >= 0 || !is_name(name, wire->len) || !strcmp(name, IMAGE_PARENT))
		return nonsense(why);
	memcpy(receive->name, name, wire->len + 1);
	receive->file = openat(receive->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return receive->file < 0 ? reason_set(why, -errno, "cannot make the image %s: %s", name, strerror(errno)) : 0;
}

static int write_at(struct receive *receive, const unsigned char *data, size_t len, uint64_t offset, struct reason *why)
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

static int take_data(struct receive *receive, const struct wire *wire, struct reason *why)
{
	if (receive->file < 0 || wire->len < 8)
		return nonsense(why);
	return write_at(receive, wire->buffer + 8, wire->len - 8, wire_number(wire, 0, 8), why);
}

static int take_lz4(struct receive *receive, const struct wire *wire, struct reason *why)
{
	const uint64_t size = wire_number(wire, 8, 4);

	if (receive->file < 0 || wire->len < 12 || size > WIRE_MAX ||
	    LZ4_decompress_safe((const char *)wire->buffer + 12, (char *)receive->unpacked, (int)wire->len - 12,
				WIRE_MAX) != (int)size)
		return nonsense(why);
	return write_at(receive, receive->unpacked, size, wire_number(wire, 0, 8), why);
}

static int end_file(struct receive *receive, const struct wire *wire, struct reason *why)
{
	const uint64_t size = wire_number(wire, 0, 8);
	int err = 0;

	if (receive->file < 0 || wire->len != 8 || size > INT64_MAX)
		return nonsense(why);
	if (ftruncate(receive->file, (off_t)size) < 0)
		err = -errno;
	if (close(receive->file) < 0 && !err)
		err = -errno;
	receive->file = -1;
	return err ? reason_set(why, err, "cannot write the image %s: %s", receive->name, strerror(-err)) : 0;
}

static int drop_file(struct receive *receive, struct reason *why)
{
	if (receive->file < 0)
		return nonsense(why);
	close_one(&receive->file);
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
		return take_data(receive, wire, why);
	case WIRE_LZ4:
		return take_lz4(receive, wire, why);
	case WIRE_FILE_END:
		return end_file(receive, wire, why);
	case WIRE_FILE_DROP:
		return drop_file(receive, why);
	case WIRE_PARENT:
		return link_parent(receive, why);
	case WIRE_ROUND_END:
	case WIRE_LAST:
		return end_round(receive, why);
	default:
		return nonsense(why);
	}
}
