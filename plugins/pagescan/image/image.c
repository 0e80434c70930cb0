// SPDX-License-Identifier: GPL-2.0-only
/*
 * image.c - write CRIU's images. Calls reason, protobuf-c, libc.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pagescan.h>

#include "criu.pb-c.h"
#include "image.h"

/* criu/include/magic.h */
#define IMG_SERVICE_MAGIC 0x55105940u
#define INVENTORY_MAGIC	  0x58313116u
#define STATS_MAGIC	  0x57093306u
/* The inventory itself begins with its own magic only. CRIU writes 2 in dumps and 0 in pre-dumps; 1 was before 2.0. */
#define IMAGES_VERSION	    1
#define IMAGES_LAST_VERSION 2

#define PRE_DUMP_READ 2

/* Of the images that are read here: an inventory has names of plugins. */
#define MESSAGE_MAX (64u << 10)

/* An entry's count of pages has 32 bits before CRIU 4.2. */
#define ENTRY_PAGES (1u << 31)

static FILE *create(int dir, const char *name, const uint32_t *magic, size_t nr)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (!file && fd >= 0)
		close(fd);
	if (file && fwrite(magic, sizeof(*magic), nr, file) != nr) {
		fclose(file);
		return NULL;
	}
	return file;
}

int image_put(FILE *file, const ProtobufCMessage *message)
{
	uint32_t size = (uint32_t)protobuf_c_message_get_packed_size(message);
	uint8_t small[64], *data = size <= sizeof(small) ? small : malloc(size);
	int err = data ? 0 : -ENOMEM;

	if (!err) {
		protobuf_c_message_pack(message, data);
		if (fwrite(&size, sizeof(size), 1, file) != 1 || fwrite(data, 1, size, file) != size)
			err = -errno;
	}
	if (data != small)
		free(data);
	return err;
}

/* A file of one message. */
static int write_one(int dir, const char *name, const uint32_t *magic, size_t nr, const ProtobufCMessage *message)
{
	FILE *file = create(dir, name, magic, nr);
	int err;

	if (!file)
		return -errno;
	err = image_put(file, message);
	if (fclose(file) && !err)
		err = -errno;
	return err;
}

int image_write_inventory(int dir, uint64_t uptime)
{
	const uint32_t magic[] = { INVENTORY_MAGIC };
	Criu__Inventory inventory = CRIU__INVENTORY__INIT;

	inventory.img_version = IMAGES_VERSION;
	inventory.has_dump_uptime = inventory.has_pre_dump_mode = 1;
	inventory.dump_uptime = uptime;
	inventory.pre_dump_mode = PRE_DUMP_READ;
	return write_one(dir, IMAGE_INVENTORY, magic, 1, &inventory.base);
}

/* The message behind the head of @nr words, and its length; NULL if there is no such file, with errno, or it is another one. */
static uint8_t *read_one(int dir, const char *path, const uint32_t *magic, size_t nr, uint32_t *size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t *data = fd < 0 ? NULL : malloc(MESSAGE_MAX);
	uint32_t head[3];
	const ssize_t len = (ssize_t)((nr + 1) * sizeof(*head));
	bool good;

	if (fd < 0)
		return NULL;
	good = data && read(fd, head, (size_t)len) == len && !memcmp(head, magic, nr * sizeof(*head)) &&
	       head[nr] <= MESSAGE_MAX && read(fd, data, head[nr]) == (ssize_t)head[nr];
	close(fd);
	errno = EBADMSG;
	if (good) {
		*size = head[nr];
		return data;
	}
	free(data);
	return NULL;
}

int image_check_version(int dir, const char *path, struct reason *why)
{
	const uint32_t magic[] = { INVENTORY_MAGIC };
	char name[256];
	uint32_t size = 0;
	uint8_t *data;
	Criu__Inventory *inventory;
	int err = 0;

	snprintf(name, sizeof(name), "%s/" IMAGE_INVENTORY, path);
	data = read_one(dir, name, magic, 1, &size);
	if (!data && errno == ENOENT)
		return -ENOENT;
	if (!data)
		return reason_set(why, -errno, "%s: %s", name, errno == EBADMSG ? "not an inventory" : strerror(errno));
	inventory = criu__inventory__unpack(NULL, size, data);
	free(data);
	if (!inventory)
		return reason_set(why, -EBADMSG, "%s: not an inventory", name);
	if (inventory->img_version > IMAGES_LAST_VERSION)
		err = reason_set(why, -EOPNOTSUPP,
				 "%s tells of version %u, of which nothing is known here (compressed pages?)", name,
				 inventory->img_version);
	criu__inventory__free_unpacked(inventory, NULL);
	return err;
}

int image_write_stats(int dir, const struct image_stats *stats)
{
	const uint32_t magic[] = { IMG_SERVICE_MAGIC, STATS_MAGIC };
	Criu__DumpStats dump = CRIU__DUMP_STATS__INIT;
	Criu__Stats message = CRIU__STATS__INIT;

	dump.freezing_time = (uint32_t)stats->freezing;
	dump.frozen_time = (uint32_t)stats->stopped;
	dump.memwrite_time = (uint32_t)stats->written;
	dump.pages_scanned = stats->pages_parent + stats->pages_written;
	dump.pages_skipped_parent = stats->pages_parent;
	dump.pages_written = stats->pages_written;
	/* None, but not absent: who reads CRIU's numbers may count on them. */
	dump.has_shpages_scanned = dump.has_shpages_skipped_parent = dump.has_shpages_written = 1;
	message.dump = &dump;
	return write_one(dir, IMAGE_STATS, magic, 2, &message.base);
}

int image_read_stats(int dir, const char *path, struct image_stats *stats)
{
	const uint32_t magic[] = { IMG_SERVICE_MAGIC, STATS_MAGIC };
	uint32_t size = 0;
	uint8_t *data = read_one(dir, path, magic, 2, &size);
	Criu__Stats *message;
	int err = -EBADMSG;

	if (!data)
		return -errno;
	message = criu__stats__unpack(NULL, size, data);
	free(data);
	if (message && message->dump) {
		*stats = (struct image_stats){
			.freezing = message->dump->freezing_time,
			.stopped = message->dump->frozen_time,
			.written = message->dump->memwrite_time,
			.pages_parent = message->dump->pages_skipped_parent,
			.pages_written = message->dump->pages_written,
		};
		err = 0;
	}
	if (message)
		criu__stats__free_unpacked(message, NULL);
	return err;
}

void image_pagemap_name(char name[32], int pid)
{
	snprintf(name, 32, "pagemap-%d.img", pid);
}

void image_pages_name(char name[32], uint32_t pages_id)
{
	snprintf(name, 32, "pages-%u.img", pages_id);
}

int image_pagemap_pid(const char *name)
{
	int pid, len = 0;

	return sscanf(name, "pagemap-%d.img%n", &pid, &len) == 1 && len && !name[len] ? pid : 0;
}

bool image_is_pages(const char *name)
{
	unsigned int id;
	int len = 0;

	return sscanf(name, "pages-%u.img%n", &id, &len) == 1 && len && !name[len];
}

bool image_page_is_zero(const unsigned char *page, size_t size)
{
	return !page[0] && !memcmp(page, page + 1, size - 1);
}

DIR *image_list(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), saved;
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;

	saved = errno;
	if (!list && fd >= 0)
		close(fd);
	errno = saved;
	return list;
}

int image_pagemap_open(struct image_pagemap *pagemap, int dir, int pid, uint32_t pages_id)
{
	const uint32_t magic[] = { IMG_COMMON_MAGIC, PAGEMAP_MAGIC };
	Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;
	char name[32];
	int err;

	image_pagemap_name(name, pid);
	*pagemap = (struct image_pagemap){ .file = create(dir, name, magic, 2) };
	if (!pagemap->file)
		return -errno;
	head.pages_id = pages_id;
	err = image_put(pagemap->file, &head.base);
	if (err) {
		fclose(pagemap->file);
		pagemap->file = NULL;
	}
	return err;
}

int image_put_entry(FILE *file, uint64_t start, uint64_t end, uint32_t flags)
{
	uint64_t pages = (end - start) / pagescan_page_size();
	Criu__PagemapEntry entry = CRIU__PAGEMAP_ENTRY__INIT;
	int err = 0;

	entry.vaddr = start;
	entry.has_flags = 1;
	entry.flags = flags;
	for (; !err && pages; pages -= entry.nr_pages) {
		entry.nr_pages = pages < ENTRY_PAGES ? (uint32_t)pages : ENTRY_PAGES;
		err = image_put(file, &entry.base);
		entry.vaddr += entry.nr_pages * pagescan_page_size();
	}
	return err;
}

int image_pagemap_add(struct image_pagemap *pagemap, uint64_t start, uint64_t end, uint32_t flags)
{
	int err = 0;

	if (pagemap->end == start && pagemap->flags == flags) {
		pagemap->end = end;
		return 0;
	}
	err = image_put_entry(pagemap->file, pagemap->start, pagemap->end, pagemap->flags);
	pagemap->start = start;
	pagemap->end = end;
	pagemap->flags = flags;
	return err;
}

int image_pagemap_close(struct image_pagemap *pagemap)
{
	int err;

	if (!pagemap->file)
		return 0;
	err = image_put_entry(pagemap->file, pagemap->start, pagemap->end, pagemap->flags);
	if (fclose(pagemap->file) && !err)
		err = -errno;
	pagemap->file = NULL;
	return err;
}
