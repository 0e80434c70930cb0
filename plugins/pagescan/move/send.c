// SPDX-License-Identifier: GPL-2.0-only
/*
 * send.c - the source's side of the wire. Calls wire, files, LZ4, the kernel.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "send.h"

/* Compression pays if a chunk loses an eighth; if it does not, so many go as they are before it is tried again. */
#define WORTH(size)  ((size) - (size) / 8)
#define PLAIN_CHUNKS 32

static struct send *send_of(struct sink *sink)
{
	return (struct send *)sink;
}

/* The source hears nothing while it sends; if the other end has given up it has said why. */
static int put(struct send *send, enum wire_type type, const void *head, size_t head_len, const void *data,
	       size_t data_len, struct reason *why)
{
	const int err = wire_send(send->wire, type, head, head_len, data, data_len, why);

	return err ? wire_last_word(send->wire, err, why) : 0;
}

/* Bytes at an offset of the file that is open at the other end. */
static int send_data(struct send *send, const unsigned char *data, size_t len, uint64_t offset, struct reason *why)
{
	struct {
		uint64_t offset;
		uint32_t size;
	} __attribute__((packed)) head = { htole64(offset), htole32((uint32_t)len) };
	char *packed = NULL;
	int size = 0, err;
	bool try;

	pthread_mutex_lock(&send->lock);
	try = send->compress && !send->plain;
	send->plain -= send->plain > 0;
	pthread_mutex_unlock(&send->lock);
	if (try && (packed = malloc(len)))
		size = LZ4_compress_default((const char *)data, packed, (int)len, (int)WORTH(len));
	pthread_mutex_lock(&send->lock);
	if (try && size <= 0)
		send->plain = PLAIN_CHUNKS;
	if (size > 0)
		err = put(send, WIRE_LZ4, &head, sizeof(head), packed, (size_t)size, why);
	else
		err = put(send, WIRE_DATA, &head.offset, sizeof(head.offset), data, len, why);
	send->bytes += size > 0 ? (uint64_t)size : len;
	pthread_mutex_unlock(&send->lock);
	free(packed);
	return err;
}

static int send_file_end(struct send *send, off_t size, struct reason *why)
{
	const uint64_t number = htole64((uint64_t)size);

	return put(send, WIRE_FILE_END, NULL, 0, &number, sizeof(number), why);
}

static int send_begin(struct sink *sink, int pid, struct reason *why)
{
	struct send *send = send_of(sink);
	int err = send->files->sink.begin(&send->files->sink, pid, why);
	char name[32];

	image_pages_name(name, send->files->pages_id);
	return err ? err : put(send, WIRE_FILE, NULL, 0, name, strlen(name), why);
}

static int send_take(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	struct files *files = send_of(sink)->files;

	return files->sink.take(&files->sink, chunk, why);
}

/* Pages of zeros are holes at the other end. */
static int send_store(struct sink *sink, const struct chunk *chunk, struct reason *why)
{
	int err = 0;

	for (size_t at = 0, end = 0; !err && files_next(chunk, &at, &end); at = end)
		err = send_data(send_of(sink), chunk->buffer + at, end - at, (uint64_t)chunk->place + at, why);
	return err;
}

static int send_end(struct sink *sink, struct reason *why)
{
	struct send *send = send_of(sink);
	const off_t size = send->files->size;
	int err = send->files->sink.end(&send->files->sink, why);

	return err ? err : send_file_end(send, size, why);
}

static void send_abandon(struct sink *sink)
{
	struct send *send = send_of(sink);

	send->files->sink.abandon(&send->files->sink);
	/* Who cannot hear it any more needs not know. */
	(void)put(send, WIRE_FILE_DROP, NULL, 0, NULL, 0, NULL);
}

static int send_finish(struct sink *sink, struct reason *why)
{
	(void)sink;
	(void)why;
	return 0;
}

void send_init(struct send *send, struct wire *wire, bool compress)
{
	*send = (struct send){
		.sink = { send_begin, send_take, send_store, send_end, send_abandon, send_finish },
		.wire = wire,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.compress = compress,
	};
}

int send_round(struct send *send, struct files *files, unsigned int round, struct reason *why)
{
	const uint32_t number = htole32(round);
	int err;

	send->files = files;
	err = put(send, WIRE_ROUND, NULL, 0, &number, sizeof(number), why);
	if (!err && round > 1)
		err = put(send, WIRE_PARENT, NULL, 0, NULL, 0, why);
	return err;
}

/* The parts of a file that are no holes. */
static int send_content(struct send *send, int fd, off_t size, struct reason *why)
{
	unsigned char *buffer = malloc(COPY_BUFFER);
	off_t at = 0, hole = 0;
	int err = buffer ? 0 : reason_set(why, -ENOMEM, "out of memory");

	while (!err && at < size) {
		ssize_t got;

		if (at >= hole) {
			at = lseek(fd, at, SEEK_DATA);
			if (at < 0)
				break;
			hole = lseek(fd, at, SEEK_HOLE);
		}
		got = pread(fd, buffer, hole - at < (off_t)COPY_BUFFER ? (size_t)(hole - at) : COPY_BUFFER, at);
		if (got <= 0)
			err = reason_set(why, got ? -errno : -EIO, "cannot read an image: %s",
					 strerror(got ? errno : EIO));
		else
			err = send_data(send, buffer, (size_t)got, (uint64_t)at, why);
		at += got;
	}
	free(buffer);
	return err;
}

static int send_file(struct send *send, int dir, const char *name, struct reason *why)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;
	int err = 0;

	/* The link to the parent is no file. */
	if (fd < 0 && errno == ELOOP)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		err = reason_set(why, -errno, "cannot open the image %s: %s", name, strerror(errno));
	else if (S_ISREG(st.st_mode)) {
		err = put(send, WIRE_FILE, NULL, 0, name, strlen(name), why);
		if (!err)
			err = send_content(send, fd, st.st_size, why);
		if (!err)
			err = send_file_end(send, st.st_size, why);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

int send_directory(struct send *send, int dir, bool live, enum wire_type type, struct reason *why)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	int err = 0;

	if (!list) {
		reason_set(why, 0, "cannot read the images: %s", strerror(errno));
		if (copy >= 0)
			close(copy);
		return -EIO;
	}
	while (!err && (entry = readdir(list))) {
		const char *name = entry->d_name;

		if (*name != '.' && strcmp(name, "criu.log") && !(live && !strncmp(name, "pages-", 6)))
			err = send_file(send, dir, name, why);
	}
	closedir(list);
	return err ? err : put(send, type, NULL, 0, NULL, 0, why);
}
