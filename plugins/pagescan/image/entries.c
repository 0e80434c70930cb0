// SPDX-License-Identifier: GPL-2.0-only
/*
 * entries.c - the entries of a pagemap-PID.img. Calls image, protobuf-c, libc.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "criu.pb-c.h"
#include "entries.h"
#include "image.h"

/* The fields of an entry, and the flag, that tell how its pages are packed. */
#define FIRST_OF_PACKING 6u
#define LAST_OF_PACKING	 8u
#define ALIGNED		 8u

/* No message of a pagemap is longer than that (bytes), by far. */
#define MESSAGE_MAX 4096u

void image_entries_fini(struct image_entries *entries)
{
	free(entries->data);
	free(entries->v);
	*entries = (struct image_entries){ 0 };
}

static int read_file(int fd, struct image_entries *entries)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	entries->data = calloc(1, (size_t)st.st_size + 1);
	if (!entries->data)
		return -ENOMEM;
	while (entries->size < (size_t)st.st_size) {
		ssize_t got = read(fd, entries->data + entries->size, (size_t)st.st_size - entries->size);

		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
		entries->size += (size_t)got;
	}
	return 0;
}

/* The length of the message at @offset, with its own length before it; 0 where none is whole. */
static size_t message_at(const struct image_entries *entries, size_t offset)
{
	const size_t left = entries->size - offset;
	uint32_t len;

	if (left < sizeof(len))
		return 0;
	memcpy(&len, entries->data + offset, sizeof(len));
	return len <= left - sizeof(len) ? sizeof(len) + len : 0;
}

/*
 * How a compressed page is packed is nobody's business here: entries are copied as they are, and which pages they are of is
 * told by what is known. criu-dev tells it by field 6, and 7 and 8 for a while (images/pagemap.proto, July 2026), and of
 * pages that are stored as they are by a flag. Anything else that is new may change which pages an entry is of.
 */
static bool is_known(const Criu__PagemapEntry *entry)
{
	for (unsigned int i = 0; i < entry->base.n_unknown_fields; i++) {
		if (entry->base.unknown_fields[i].tag < FIRST_OF_PACKING ||
		    entry->base.unknown_fields[i].tag > LAST_OF_PACKING)
			return false;
	}
	return !(entry->flags & ~(IMAGE_IN_PARENT | IMAGE_LAZY | IMAGE_PRESENT | ALIGNED));
}

static int take_entry(struct image_entries *entries, size_t offset, size_t size)
{
	const uint64_t page = pagescan_page_size();
	const uint8_t *message = entries->data + offset + sizeof(uint32_t);
	Criu__PagemapEntry *entry = criu__pagemap_entry__unpack(NULL, size - sizeof(uint32_t), message);
	uint64_t pages = !entry ? 0 : entry->has_wide_nr_pages ? entry->wide_nr_pages : entry->nr_pages;
	struct image_entry found = { .offset = offset, .size = size };

	if (entry && !is_known(entry)) {
		criu__pagemap_entry__free_unpacked(entry, NULL);
		return -EOPNOTSUPP;
	}
	if (!entry || entry->vaddr % page || pages > (UINT64_MAX - entry->vaddr) / page ||
	    (entries->nr && entry->vaddr < entries->v[entries->nr - 1].end)) {
		criu__pagemap_entry__free_unpacked(entry, NULL);
		return -EBADMSG;
	}
	found.start = entry->vaddr;
	found.end = found.start + pages * page;
	found.held = !entry->has_flags || (entry->flags & (IMAGE_IN_PARENT | IMAGE_PRESENT));
	criu__pagemap_entry__free_unpacked(entry, NULL);

	if (entries->nr == entries->room) {
		size_t room = entries->room ? entries->room * 2 : 64;
		struct image_entry *v = reallocarray(entries->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		entries->v = v;
		entries->room = room;
	}
	entries->v[entries->nr++] = found;
	return 0;
}

static int take_head(struct image_entries *entries, size_t offset, size_t size)
{
	const uint8_t *message = entries->data + offset + sizeof(uint32_t);
	Criu__PagemapHead *head = criu__pagemap_head__unpack(NULL, size - sizeof(uint32_t), message);
	int err = !head ? -EBADMSG : head->base.n_unknown_fields ? -EOPNOTSUPP : 0;

	entries->head = offset + size;
	if (head)
		criu__pagemap_head__free_unpacked(head, NULL);
	return err;
}

int image_entries_read(int fd, struct image_entries *entries)
{
	const uint32_t magic[] = { IMG_COMMON_MAGIC, PAGEMAP_MAGIC };
	size_t offset = sizeof(magic), size;
	int err;

	*entries = (struct image_entries){ 0 };
	err = read_file(fd, entries);
	if (!err && (entries->size < sizeof(magic) || memcmp(entries->data, magic, sizeof(magic))))
		err = -EBADMSG;
	/* The first message is the head. */
	for (size = 0; !err && (!size || offset < entries->size); offset += size) {
		size = message_at(entries, offset);
		if (!size)
			err = -EBADMSG;
		else if (entries->head)
			err = take_entry(entries, offset, size);
		else
			err = take_head(entries, offset, size);
	}
	if (err)
		image_entries_fini(entries);
	return err;
}

/* The first entry that ends after @addr. */
static size_t find(const struct image_entries *entries, uint64_t addr)
{
	size_t low = 0, high = entries->nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (entries->v[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

bool image_entries_cover(const struct image_entries *entries, uint64_t start, uint64_t end)
{
	for (size_t i = find(entries, start); i < entries->nr && start < end; i++) {
		const struct image_entry *entry = &entries->v[i];

		if (!entry->held || entry->start > start)
			return false;
		start = entry->end;
	}
	return start >= end;
}

/* All that is in the regions and in no entry, as far as @limit; goes on from where *at and *from are. */
static int put_regions(FILE *file, const struct pagescan_regions *regions, size_t *at, uint64_t *from, uint64_t limit)
{
	int err = 0;

	while (!err && *at < regions->nr && regions->v[*at].start < limit) {
		const struct pagescan_region *region = &regions->v[*at];
		uint64_t start = region->start > *from ? region->start : *from;
		uint64_t end = region->end < limit ? region->end : limit;

		if (start < end)
			err = image_put_entry(file, start, end, IMAGE_IN_PARENT);
		if (region->end > limit)
			break;
		(*at)++;
	}
	return err;
}

static int put_all(FILE *file, const struct image_entries *entries, const struct pagescan_regions *regions)
{
	uint64_t from = 0;
	size_t at = 0;
	int err = fwrite(entries->data, 1, entries->head, file) == entries->head ? 0 : -errno;

	for (size_t i = 0; !err && i < entries->nr; i++) {
		const struct image_entry *entry = &entries->v[i];

		err = put_regions(file, regions, &at, &from, entry->start);
		if (!err && fwrite(entries->data + entry->offset, 1, entry->size, file) != entry->size)
			err = -errno;
		from = entry->end;
	}
	return err ? err : put_regions(file, regions, &at, &from, UINT64_MAX);
}

static int write_file(int fd, const char *data, size_t size)
{
	off_t offset = 0;

	while (size) {
		ssize_t put = pwrite(fd, data, size, offset);

		if (put < 0)
			return -errno;
		data += put;
		size -= (size_t)put;
		offset += put;
	}
	return 0;
}

int image_entries_fill(int fd, const struct image_entries *entries, const struct pagescan_regions *regions)
{
	char *data = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&data, &size);
	int err;

	if (!file)
		return -errno;
	err = put_all(file, entries, regions);
	if (fclose(file) && !err)
		err = -errno;
	/* It grows, or stays as it is: nothing old is left behind its new end. */
	if (!err)
		err = write_file(fd, data, size);
	free(data);
	return err;
}

void image_entries_merge(struct image_entries *entries)
{
	size_t nr = 0;

	for (size_t i = 0; i < entries->nr; i++) {
		const struct image_entry *entry = &entries->v[i];

		if (!entry->held || entry->start == entry->end)
			continue;
		if (nr && entries->v[nr - 1].end == entry->start)
			entries->v[nr - 1].end = entry->end;
		else
			entries->v[nr++] = (struct image_entry){ entry->start, entry->end, .held = true };
	}
	entries->nr = nr;
	free(entries->data);
	entries->data = NULL;
	entries->size = entries->head = 0;
}

/* The file's messages that begin before @read: in @first's data, and the last of its entries among them. To be finied. */
static int read_first(int fd, size_t read, struct image_entries *first)
{
	const size_t room = read + MESSAGE_MAX;
	size_t offset = 2 * sizeof(uint32_t), last = 0, size = 0;
	ssize_t got;
	int err = 0;

	*first = (struct image_entries){ .data = malloc(room) };
	if (!first->data)
		return -ENOMEM;
	got = pread(fd, first->data, room, 0);
	if (got < (ssize_t)offset)
		return got < 0 ? -errno : -EBADMSG;
	first->size = (size_t)got;
	while (offset < read) {
		size = offset < first->size ? message_at(first, offset) : 0;
		if (!size)
			return -EBADMSG;
		/* The first one is the head. */
		if (first->head)
			last = offset;
		else
			first->head = offset + size;
		offset += size;
	}
	if (last)
		err = take_entry(first, last, size);
	first->size = offset;
	return err;
}

int image_entries_shorten(int from, size_t read, const struct image_entries *merged, int to)
{
	struct image_entries first;
	char *data = NULL;
	size_t size = 0;
	int err = read_first(from, read, &first);

	if (!err) {
		const uint64_t known = first.nr ? first.v[0].end : 0;
		FILE *file = open_memstream(&data, &size);

		err = !file ? -errno : fwrite(first.data, 1, first.size, file) == first.size ? 0 : -errno;
		for (size_t i = merged ? find(merged, known) : 0; !err && merged && i < merged->nr; i++) {
			const struct image_entry *run = &merged->v[i];

			err = image_put_entry(file, run->start > known ? run->start : known, run->end, IMAGE_IN_PARENT);
		}
		if (file && fclose(file) && !err)
			err = -errno;
	}
	if (!err)
		err = write_file(to, data, size);
	free(data);
	image_entries_fini(&first);
	return err;
}
