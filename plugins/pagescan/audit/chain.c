// SPDX-License-Identifier: GPL-2.0-only
/*
 * chain.c - read CRIU's pagemap images, parent by parent. Calls protobuf-c, the kernel.
 *
 * It shares nothing with the code it is to check: what is clean comes from the tracker, where a page is from here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagescan.h>

#include "chain.h"
#include "images.pb-c.h"

/* criu/include/magic.h */
#define IMAGE_MAGIC	0x54564319u
#define PAGEMAP_MAGIC	0x56084025u
#define INVENTORY_MAGIC 0x58313116u

#define INVENTORY "inventory.img"

/* The last version of images whose pages lie in their files as they are. */
#define LAST_VERSION 2

/* criu/include/pagemap.h */
#define IN_PARENT 1u
#define LAZY	  2u
#define PRESENT	  4u

#define MESSAGE_MAX 4096 /* bytes; an entry takes about 20, an inventory 80 and the names of plugins */

/* What is longer than all that is known here can be, if it is there at all. */
static int skip_message(FILE *file, uint32_t len, uint8_t buf[MESSAGE_MAX])
{
	while (len) {
		const size_t got = fread(buf, 1, len < MESSAGE_MAX ? len : MESSAGE_MAX, file);

		if (!got)
			return -EBADMSG;
		len -= (uint32_t)got;
	}
	return -EOPNOTSUPP;
}

/* Returns the message's length in @buf, 0 at the end of the file, -EBADMSG, or -EOPNOTSUPP: too long to be known. */
static int read_message(FILE *file, uint8_t buf[MESSAGE_MAX])
{
	uint32_t len;
	size_t got = fread(&len, 1, sizeof(len), file);

	if (!got && feof(file))
		return 0;
	if (got == sizeof(len) && len > MESSAGE_MAX)
		return skip_message(file, len, buf);
	if (got != sizeof(len) || !len || fread(buf, 1, len, file) != len)
		return -EBADMSG;
	return (int)len;
}

static int read_head(FILE *file, uint32_t *pages_id)
{
	uint32_t magic[2];
	uint8_t buf[MESSAGE_MAX];
	Images__PagemapHead *head;
	int len;

	if (fread(magic, sizeof(*magic), 2, file) != 2 || magic[0] != IMAGE_MAGIC || magic[1] != PAGEMAP_MAGIC)
		return -EBADMSG;
	len = read_message(file, buf);
	head = len > 0 ? images__pagemap_head__unpack(NULL, (size_t)len, buf) : NULL;
	if (!head)
		return len == -EOPNOTSUPP ? len : -EBADMSG;
	len = head->base.n_unknown_fields ? -EOPNOTSUPP : 0;
	*pages_id = head->pages_id;
	images__pagemap_head__free_unpacked(head, NULL);
	return len;
}

/* @offset: bytes of pages before this entry; moves on by what the entry holds. */
static int take_entry(struct layer *layer, const Images__PagemapEntry *entry, uint64_t *offset)
{
	const uint64_t page = pagescan_page_size();
	const uint64_t nr = entry->has_nr_pages ? entry->nr_pages : entry->short_nr_pages;
	uint32_t flags = entry->has_flags ? entry->flags : PRESENT;
	struct extent extent = { .start = entry->vaddr, .offset = *offset };

	if (entry->has_in_parent && entry->in_parent)
		flags = IN_PARENT;
	if (entry->base.n_unknown_fields || flags & ~(IN_PARENT | LAZY | PRESENT))
		return -EOPNOTSUPP;
	if (extent.start % page || nr > (UINT64_MAX - extent.start) / page || nr > (INT64_MAX - *offset) / page ||
	    (layer->nr && extent.start < layer->v[layer->nr - 1].end))
		return -EBADMSG;
	extent.end = extent.start + nr * page;
	extent.held = !(flags & IN_PARENT);
	if (flags & PRESENT)
		*offset += nr * page;
	else if (extent.held)
		return 0; /* the images do not have it: restore would fetch it from elsewhere */

	if (layer->nr == layer->room) {
		size_t room = layer->room ? layer->room * 2 : 64;
		struct extent *v = reallocarray(layer->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		layer->v = v;
		layer->room = room;
	}
	layer->v[layer->nr++] = extent;
	return 0;
}

/* *bytes: how long the file of pages has to be. */
static int read_entries(FILE *file, struct layer *layer, uint64_t *bytes)
{
	uint8_t buf[MESSAGE_MAX];
	int len, err = 0;

	while (!err && (len = read_message(file, buf)) != 0) {
		Images__PagemapEntry *entry = len > 0 ? images__pagemap_entry__unpack(NULL, (size_t)len, buf) : NULL;

		err = entry ? take_entry(layer, entry, bytes) : len < 0 ? len : -EBADMSG;
		if (entry)
			images__pagemap_entry__free_unpacked(entry, NULL);
	}
	return err;
}

/* Neither a device nor a pipe that never ends. */
static int open_regular(int dir, const char *name)
{
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EBADMSG;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static FILE *open_file(int dir, const char *name, int *err)
{
	int fd = open_regular(dir, name);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	*err = fd < 0 ? fd : file ? 0 : -ENOMEM;
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

/* A page server's directory has none. */
static int check_inventory(int dir)
{
	Images__Inventory *inventory = NULL;
	uint8_t buf[MESSAGE_MAX];
	uint32_t magic;
	int len = 0, err;
	FILE *file = open_file(dir, INVENTORY, &err);

	if (!file)
		return err == -ENOENT ? 0 : err;
	if (fread(&magic, sizeof(magic), 1, file) == 1 && magic == INVENTORY_MAGIC)
		len = read_message(file, buf);
	fclose(file);
	if (len > 0)
		inventory = images__inventory__unpack(NULL, (size_t)len, buf);
	if (!inventory)
		return len == -EOPNOTSUPP ? len : -EBADMSG;
	err = inventory->img_version <= LAST_VERSION ? 0 : -EOPNOTSUPP;
	images__inventory__free_unpacked(inventory, NULL);
	return err;
}

static int open_pages(struct layer *layer, int dir, const char *name, uint64_t bytes)
{
	struct stat st;

	layer->pages_fd = open_regular(dir, name);
	if (layer->pages_fd < 0)
		/* Missing pages are no missing layer. */
		return layer->pages_fd == -ENOENT ? -EBADMSG : layer->pages_fd;
	if (fstat(layer->pages_fd, &st))
		return -errno;
	return st.st_size >= 0 && (uint64_t)st.st_size == bytes ? 0 : -ENODATA;
}

/* The images in one directory. On an error @name is the file that is to blame; -ENODATA: it is not @bytes long. */
static int layer_open(struct layer *layer, int dir, int pid, char name[32], uint64_t *bytes)
{
	uint32_t pages_id = 0;
	FILE *file;
	int err;

	*layer = (struct layer){ .pages_fd = -1 };
	*bytes = 0;
	snprintf(name, 32, INVENTORY);
	err = check_inventory(dir);
	if (err)
		return err;
	snprintf(name, 32, "pagemap-%d.img", pid);
	file = open_file(dir, name, &err);
	if (!file)
		return err;
	err = read_head(file, &pages_id);
	if (!err)
		err = read_entries(file, layer, bytes);
	fclose(file);
	if (err)
		return err;
	snprintf(name, 32, "pages-%u.img", pages_id);
	return open_pages(layer, dir, name, *bytes);
}

static void layer_close(struct layer *layer)
{
	free(layer->v);
	if (layer->pages_fd >= 0)
		close(layer->pages_fd);
}

/* A directory may not be its own ancestor. */
static int check_new(const struct chain *chain, int dir, struct stat *st)
{
	if (fstat(dir, st))
		return -errno;
	for (size_t i = 0; i < chain->nr; i++) {
		if (chain->v[i].dev == st->st_dev && chain->v[i].ino == st->st_ino)
			return -ELOOP;
	}
	return 0;
}

static int add_layer(struct chain *chain, int dir, int pid, struct reason *why)
{
	struct layer *v = reallocarray(chain->v, chain->nr + 1, sizeof(*v));
	char name[32] = "its directory";
	struct stat st = { 0 };
	uint64_t bytes = 0;
	int err = -ENOMEM;

	if (v) {
		chain->v = v;
		err = check_new(chain, dir, &st);
	}
	if (!err) {
		err = layer_open(&v[chain->nr], dir, pid, name, &bytes);
		v[chain->nr].dev = st.st_dev;
		v[chain->nr].ino = st.st_ino;
		if (err)
			layer_close(&v[chain->nr]);
		else
			chain->nr++;
	}
	if (!err || (err == -ENOENT && chain->nr))
		return err; /* the task, or its memory, was not there yet in the older rounds */
	if (err == -ENODATA)
		return reason_set(why, -EBADMSG,
				  "%s, %zu directories down the chain: not of the %llu bytes it is told to be", name,
				  chain->nr, (unsigned long long)bytes);
	return reason_set(why, err, "%s, %zu directories down the chain: %s", name, chain->nr,
			  err == -EBADMSG ? "not a valid image" :
			  err == -EOPNOTSUPP ?
					    "made by a CRIU with features that are not known here (compressed pages?)" :
					    strerror(-err));
}

int chain_open(struct chain *chain, int dir, const char *path, int pid, struct reason *why)
{
	int at = openat(dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = at < 0 ? reason_set(why, -errno, "cannot open %s: %s", path, strerror(errno)) : 0;

	*chain = (struct chain){ 0 };
	while (!err && at >= 0) {
		int below;

		err = add_layer(chain, at, pid, why);
		below = err ? -1 : openat(at, "parent", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (!err && below < 0 && errno != ENOENT)
			err = reason_set(why, -errno, "cannot open a parent, %zu directories down the chain: %s",
					 chain->nr, strerror(errno));
		close(at);
		at = below;
	}
	if (err == -ENOENT && chain->nr)
		err = 0;
	if (err)
		chain_close(chain);
	return err;
}

static const struct extent *find_extent(const struct layer *layer, uint64_t addr)
{
	size_t low = 0, high = layer->nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (layer->v[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low < layer->nr && layer->v[low].start <= addr ? &layer->v[low] : NULL;
}

int chain_find(const struct chain *chain, uint64_t addr, struct chain_piece *piece)
{
	piece->end = UINT64_MAX;
	for (size_t i = 0; i < chain->nr; i++) {
		const struct extent *extent = find_extent(&chain->v[i], addr);

		if (!extent)
			break;
		if (extent->end < piece->end)
			piece->end = extent->end;
		if (extent->held) {
			piece->fd = chain->v[i].pages_fd;
			piece->offset = extent->offset + (addr - extent->start);
			return 0;
		}
	}
	return -ENOENT;
}

void chain_close(struct chain *chain)
{
	for (size_t i = 0; i < chain->nr; i++)
		layer_close(&chain->v[i]);
	free(chain->v);
	*chain = (struct chain){ 0 };
}
