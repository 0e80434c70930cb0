// SPDX-License-Identifier: GPL-2.0-only
/*
 * send.c - the source's side of the wire. Calls wire, known, files, LZ4, the kernel.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <pagescan.h>
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

/* One that is free, of those that pages go over or of the one for everything else. Taken, until it is unlocked. */
static struct lane_out *take_lane(struct send *send, bool pages)
{
	const unsigned int first = pages && send->nr > 1, end = first ? send->nr : 1;

	for (unsigned int i = first; i < end; i++) {
		if (!pthread_mutex_trylock(&send->lanes[i].lock))
			return &send->lanes[i];
	}
	pthread_mutex_lock(&send->lanes[first].lock);
	return &send->lanes[first];
}

/* A lane has failed with @err. The first reason counts, and the destination's own where it gives one, over @wire. */
static int failed(struct send *send, int err, struct reason *why)
{
	pthread_mutex_lock(&send->lock);
	if (!send->err) {
		send->err = wire_last_word(send->wire, err, why);
		send->why = *why;
	}
	*why = send->why;
	err = send->err;
	pthread_mutex_unlock(&send->lock);
	return err;
}

static int send_chunk(struct send *send, bool pages, const unsigned char *data, size_t len, const char *packed,
		      size_t packed_len, uint64_t offset, struct reason *why)
{
	struct {
		uint64_t offset;
		uint32_t file;
		uint32_t size;
	} __attribute__((packed)) head = { htole64(offset), htole32(send->file), htole32((uint32_t)len) };
	struct lane_out *lane = take_lane(send, pages);
	int err;

	if (packed_len)
		err = wire_send(lane->wire, WIRE_LZ4, &head, sizeof(head), packed, packed_len, why);
	else
		err = wire_send(lane->wire, WIRE_DATA, &head, sizeof(head) - sizeof(head.size), data, len, why);
	pthread_mutex_unlock(&lane->lock);
	return err ? failed(send, err, why) : 0;
}

/* Bytes at an offset of the file that is open at the other end. */
static int send_data(struct send *send, bool pages, const unsigned char *data, size_t len, uint64_t offset,
		     struct reason *why)
{
	char *packed = NULL;
	int size = 0, err;
	bool try;

	pthread_mutex_lock(&send->lock);
	try = send->compress && !send->plain;
	send->plain -= send->plain > 0;
	pthread_mutex_unlock(&send->lock);
	if (try && (packed = malloc(len)))
		size = LZ4_compress_default((const char *)data, packed, (int)len, (int)WORTH(len));
	err = send_chunk(send, pages, data, len, packed, size > 0 ? (size_t)size : 0, offset, why);
	free(packed);
	pthread_mutex_lock(&send->lock);
	if (try && size <= 0)
		send->plain = PLAIN_CHUNKS;
	send->sent += len;
	send->bytes += size > 0 ? (uint64_t)size : len;
	pthread_mutex_unlock(&send->lock);
	return err;
}

/* Pages at an offset of that file which the other end has, with these digests. */
static int send_same(struct send *send, const unsigned char (*digests)[DIGEST], size_t nr, uint64_t offset,
		     struct reason *why)
{
	struct {
		uint64_t offset;
		uint32_t file;
	} __attribute__((packed)) head = { htole64(offset), htole32(send->file) };
	struct lane_out *lane = take_lane(send, true);
	int err = wire_send(lane->wire, WIRE_SAME, &head, sizeof(head), digests, nr * DIGEST, why);

	pthread_mutex_unlock(&lane->lock);
	pthread_mutex_lock(&send->lock);
	send->sent += nr * pagescan_page_size();
	send->bytes += nr * DIGEST;
	pthread_mutex_unlock(&send->lock);
	return err ? failed(send, err, why) : 0;
}

/* Pages at an offset of that file, no more than a buffer of them. Adds to *spared what the other end has. */
static int send_pages(struct send *send, const unsigned char *data, size_t len, uint64_t offset, size_t *spared,
		      struct reason *why)
{
	const size_t page = pagescan_page_size(), nr = len / page;
	unsigned char digests[COPY_BUFFER / 4096][DIGEST];
	bool same[COPY_BUFFER / 4096];
	int err = 0;

	if (!send->known)
		return send_data(send, true, data, len, offset, why);
	for (size_t i = 0; i < nr; i++)
		same[i] = digest(data + i * page, page, digests[i]) && known_has(send->known, digests[i]);
	for (size_t i = 0, end = 1; !err && i < nr; i = end++) {
		while (end < nr && same[end] == same[i])
			end++;
		err = same[i] ? send_same(send, &digests[i], end - i, offset + i * page, why) :
				send_data(send, true, data + i * page, (end - i) * page, offset + i * page, why);
		*spared += same[i] ? (end - i) * page : 0;
	}
	return err;
}

static int send_file_begin(struct send *send, const char *name, struct reason *why)
{
	send->file++;
	send->sent = 0;
	return put(send, WIRE_FILE, NULL, 0, name, strlen(name), why);
}

static int send_file_end(struct send *send, off_t size, struct reason *why)
{
	const uint64_t sent = htole64(send->sent), number = htole64((uint64_t)size);

	return put(send, WIRE_FILE_END, &sent, sizeof(sent), &number, sizeof(number), why);
}

static int send_begin(struct sink *sink, int pid, struct reason *why)
{
	struct send *send = send_of(sink);
	int err = send->files->sink.begin(&send->files->sink, pid, why);
	char name[32];

	image_pages_name(name, send->files->pages_id);
	return err ? err : send_file_begin(send, name, why);
}

static int send_take(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	struct files *files = send_of(sink)->files;

	return files->sink.take(&files->sink, chunk, why);
}

/* Pages of zeros are holes at the other end. */
static int send_store(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	int err = 0;

	for (size_t at = 0, end = 0; !err && files_next(chunk, &at, &end); at = end)
		err = send_pages(send_of(sink), chunk->buffer + at, end - at, (uint64_t)chunk->place + at,
				 &chunk->spared, why);
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
	const uint64_t sent = htole64(send->sent);

	send->files->sink.abandon(&send->files->sink);
	/* Who cannot hear it any more needs not know. */
	(void)put(send, WIRE_FILE_DROP, NULL, 0, &sent, sizeof(sent), NULL);
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
		.lanes = { { wire, PTHREAD_MUTEX_INITIALIZER } },
		.nr = 1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.compress = compress,
	};
}

void send_pages_over(struct send *send, struct wire *lanes, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		send->lanes[send->nr++] = (struct lane_out){ &lanes[i], PTHREAD_MUTEX_INITIALIZER };
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

/* A file on its way, by several threads. @at: what is next; where that is not before @hole, the next data is to be found. */
struct content {
	struct send *send;
	int fd;
	bool pages;
	off_t size;
	off_t at;
	off_t hole;
	pthread_mutex_t lock;
	int err;
	struct reason *why;
};

/* Read the next part that is no hole. Returns its length, 0 in the end and after a failure. */
static size_t next_part(struct content *content, unsigned char *buffer, off_t *at)
{
	ssize_t got = 0;

	pthread_mutex_lock(&content->lock);
	if (!content->err && content->at >= content->hole && content->at < content->size) {
		content->at = lseek(content->fd, content->at, SEEK_DATA);
		content->hole = content->at < 0 ? 0 : lseek(content->fd, content->at, SEEK_HOLE);
		if (content->at < 0)
			content->at = content->size;
	}
	if (!content->err && content->at < content->size) {
		const off_t left = content->hole - content->at;

		got = pread(content->fd, buffer, left < (off_t)COPY_BUFFER ? (size_t)left : COPY_BUFFER, content->at);
		if (got <= 0)
			content->err = reason_set(content->why, got ? -errno : -EIO, "cannot read an image: %s",
						  strerror(got ? errno : EIO));
		*at = content->at;
		content->at += got;
	}
	pthread_mutex_unlock(&content->lock);
	return got > 0 ? (size_t)got : 0;
}

static void *send_parts(void *arg)
{
	struct content *content = arg;
	unsigned char *buffer = malloc(COPY_BUFFER);
	struct reason why = { "out of memory" };
	int err = buffer ? 0 : -ENOMEM;
	size_t len;
	off_t at;

	while (!err && (len = next_part(content, buffer, &at)))
		err = send_data(content->send, content->pages, buffer, len, (uint64_t)at, &why);
	free(buffer);
	pthread_mutex_lock(&content->lock);
	if (err && !content->err) {
		content->err = err;
		*content->why = why;
	}
	pthread_mutex_unlock(&content->lock);
	return NULL;
}

/* The parts of a file that are no holes: pages by a thread for each lane, if there is more than one buffer of them. */
static int send_content(struct send *send, int fd, off_t size, bool pages, struct reason *why)
{
	struct content content = {
		.send = send, .fd = fd, .pages = pages, .size = size, .lock = PTHREAD_MUTEX_INITIALIZER, .why = why
	};
	const off_t buffers = (size + (off_t)COPY_BUFFER - 1) / (off_t)COPY_BUFFER;
	unsigned int more = pages && send->nr > 2 ? send->nr - 2 : 0, started = 0;
	pthread_t threads[COPY_JOBS];

	while (started < more && started + 1 < buffers &&
	       !pthread_create(&threads[started], NULL, send_parts, &content))
		started++;
	send_parts(&content);
	while (started)
		pthread_join(threads[--started], NULL);
	return content.err;
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
		err = send_file_begin(send, name, why);
		if (!err)
			err = send_content(send, fd, st.st_size, image_is_pages(name), why);
		if (!err)
			err = send_file_end(send, st.st_size, why);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

int send_directory(struct send *send, int dir, bool live, enum wire_type type, struct reason *why)
{
	DIR *list = image_list(dir, ".");
	const struct dirent *entry;
	int err = 0;

	if (!list)
		return reason_set(why, -EIO, "cannot read the images: %s", strerror(errno));
	while (!err && (entry = readdir(list))) {
		const char *name = entry->d_name;

		if (*name != '.' && strcmp(name, "criu.log") && strcmp(name, "dump.log") &&
		    !(live && image_is_pages(name)))
			err = send_file(send, dir, name, why);
	}
	closedir(list);
	return err ? err : put(send, type, NULL, 0, NULL, 0, why);
}
