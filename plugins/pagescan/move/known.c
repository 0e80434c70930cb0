// SPDX-License-Identifier: GPL-2.0-only
/*
 * known.c - pages that the destination has already. Calls digest, wire, image, libc.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pagescan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "known.h"

/* Bytes read at once, and between two signs of life. */
#define BUFFER	  (1UL << 20)
#define LIFE_SIGN (64 * BUFFER)

struct known_page {
	unsigned char digest[DIGEST];
	uint32_t file;
	uint32_t page;
};

/* Digests of a frame. */
#define FRAME (BUFFER / DIGEST)

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST);
}

void known_fini(struct known *known)
{
	for (size_t i = 0; i < known->nr_files; i++)
		free(known->files[i]);
	free(known->files);
	free(known->v);
	if (known->dir >= 0)
		close(known->dir);
	*known = (struct known){ .dir = -1 };
}

static struct known_page *add(struct known *known)
{
	if (known->nr == known->room) {
		const size_t room = known->room ? 2 * known->room : 4096;
		struct known_page *v = reallocarray(known->v, room, sizeof(*v));

		if (!v)
			return NULL;
		known->v = v;
		known->room = room;
	}
	return &known->v[known->nr++];
}

/* Pages of the last file of @known, from @number on. */
static int add_pages(struct known *known, const unsigned char *pages, size_t nr, uint32_t number)
{
	const size_t size = pagescan_page_size();

	for (size_t i = 0; i < nr && known->nr < KNOWN_MAX; i++) {
		struct known_page *page;

		if (image_page_is_zero(pages + i * size, size))
			continue;
		page = add(known);
		if (!page || !digest(pages + i * size, size, page->digest))
			return -ENOMEM;
		page->file = (uint32_t)(known->nr_files - 1);
		page->page = number + (uint32_t)i;
	}
	return 0;
}

static int read_file(struct known *known, int fd, const struct wire *wire, struct reason *why)
{
	const off_t size = (off_t)pagescan_page_size();
	unsigned char *buffer = malloc(BUFFER);
	off_t at = 0, told = 0;
	ssize_t got;
	int err = buffer ? 0 : -ENOMEM;

	/* Holes are zeros. */
	while (!err && known->nr < KNOWN_MAX && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		at -= at % size;
		got = pread(fd, buffer, BUFFER, at);
		if (got < size) {
			err = got < 0 ? -errno : 0;
			break;
		}
		err = add_pages(known, buffer, (size_t)(got / size), (uint32_t)(at / size));
		at += got - got % size;
		if (!err && at - told >= (off_t)LIFE_SIGN) {
			told = at;
			err = wire_say(wire, WIRE_NOTE, "", why);
		}
	}
	free(buffer);
	return err;
}

static int add_file(struct known *known, const char *directory, const char *name, const struct wire *wire,
		    struct reason *why)
{
	char **files = reallocarray(known->files, known->nr_files + 1, sizeof(*files));
	int fd, err;

	if (!files)
		return -ENOMEM;
	known->files = files;
	if (asprintf(&files[known->nr_files], "%s/%s", directory, name) < 0)
		return -ENOMEM;
	fd = openat(known->dir, files[known->nr_files++], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	err = read_file(known, fd, wire, why);
	close(fd);
	return err;
}

static int add_directory(struct known *known, const char *directory, const struct wire *wire, struct reason *why)
{
	DIR *list = image_list(known->dir, directory);
	const struct dirent *entry;
	int err = 0;

	if (!list)
		return -errno;
	while (!err && (entry = readdir(list))) {
		if (image_is_pages(entry->d_name))
			err = add_file(known, directory, entry->d_name, wire, why);
	}
	closedir(list);
	return err;
}

/* A directory of all rounds, or of one. Links to rounds, as `last` is one, lead to nothing new. */
static int read_all(struct known *known, const struct wire *wire, struct reason *why)
{
	DIR *list = image_list(known->dir, ".");
	const struct dirent *entry;
	struct stat st;
	int err;

	if (!list)
		return -errno;
	err = add_directory(known, ".", wire, why);
	while (!err && (entry = readdir(list))) {
		if (*entry->d_name != '.' && !fstatat(known->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISDIR(st.st_mode))
			err = add_directory(known, entry->d_name, wire, why);
	}
	closedir(list);
	return err;
}

/* Many pages are the same as others. */
static void sort(struct known *known)
{
	size_t nr = 0;

	if (known->nr)
		qsort(known->v, known->nr, sizeof(*known->v), compare);
	for (size_t i = 0; i < known->nr; i++) {
		if (!nr || compare(&known->v[nr - 1], &known->v[i]) != 0)
			known->v[nr++] = known->v[i];
	}
	known->nr = nr;
}

/* An empty frame is the last one. */
static int tell(const struct known *known, const struct wire *wire, struct reason *why)
{
	unsigned char(*digests)[DIGEST] = malloc(BUFFER);
	size_t nr;
	int err = 0;

	if (!digests)
		return reason_set(why, -ENOMEM, "out of memory");
	for (size_t at = 0; !err && at < known->nr; at += nr) {
		for (nr = 0; nr < FRAME && at + nr < known->nr; nr++)
			memcpy(digests[nr], known->v[at + nr].digest, DIGEST);
		err = wire_send(wire, WIRE_KNOWN, NULL, 0, digests, nr * DIGEST, why);
	}
	free(digests);
	return err ? err : wire_send(wire, WIRE_KNOWN, NULL, 0, NULL, 0, why);
}

int known_offer(struct known *known, const char *path, const struct wire *wire, struct reason *why)
{
	struct reason broken = { "" };
	int err = digest_load(why);

	if (err)
		return err;
	known->path = path;
	known->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = known->dir < 0 ? -errno : read_all(known, wire, &broken);
	if (err)
		return reason_set(why, err, "cannot read the images of --base, %s: %s", path,
				  *broken.text ? broken.text : strerror(-err));
	sort(known);
	return tell(known, wire, why);
}

int known_hear(struct known *known, const struct wire *wire, struct reason *why)
{
	if (wire->len % DIGEST)
		return reason_set(why, -EPROTO, "the destination says what makes no sense");
	for (const unsigned char *at = wire->buffer; at < wire->buffer + wire->len; at += DIGEST) {
		const bool ascends = !known->nr || compare(known->v[known->nr - 1].digest, at) < 0;
		struct known_page *page = known->nr < KNOWN_MAX ? add(known) : NULL;

		if (!page || !ascends)
			return ascends ? reason_set(why, -ENOMEM, "no memory for what the destination has already") :
					 reason_set(why, -EPROTO, "the destination says what makes no sense");
		*page = (struct known_page){ .file = 0 };
		memcpy(page->digest, at, DIGEST);
	}
	return wire->len > 0;
}

static const struct known_page *find(const struct known *known, const unsigned char page[DIGEST])
{
	return known->nr ? bsearch(page, known->v, known->nr, sizeof(*known->v), compare) : NULL;
}

bool known_has(const struct known *known, const unsigned char page[DIGEST])
{
	return find(known, page);
}

int known_read(const struct known *known, const unsigned char (*digests)[DIGEST], size_t nr, unsigned char *pages,
	       struct reason *why)
{
	const size_t size = pagescan_page_size();
	const struct known_page *last = NULL;
	int fd = -1, err = 0;

	for (size_t i = 0; !err && i < nr; i++) {
		const struct known_page *page = find(known, digests[i]);
		unsigned char now[DIGEST];

		if (!page) {
			err = reason_set(why, -EPROTO, "the source says what makes no sense");
			break;
		}
		if (!last || last->file != page->file) {
			if (fd >= 0)
				close(fd);
			fd = openat(known->dir, known->files[page->file],
				    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
		}
		last = page;
		if (fd < 0 || pread(fd, pages + i * size, size, (off_t)page->page * (off_t)size) != (ssize_t)size ||
		    !digest(pages + i * size, size, now) || memcmp(now, digests[i], DIGEST) != 0)
			err = reason_set(why, -ESTALE, "the images of --base, %s/%s, have changed meanwhile",
					 known->path, known->files[page->file]);
	}
	if (fd >= 0)
		close(fd);
	return err;
}
