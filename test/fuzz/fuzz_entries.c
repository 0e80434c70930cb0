// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pagemap image that holds anything (behind its length), and regions to be put into it (two bytes each: pages to leave
 * free, pages to put): the image is refused, or it has afterwards all entries that it had, word for word, and new ones
 * exactly where a region lies and no entry did.
 */
#include <errno.h>

#include "fuzz.h"
#include "image/entries.h"

static bool within(const struct image_entries *entries, uint64_t addr)
{
	for (size_t i = 0; i < entries->nr; i++) {
		if (entries->v[i].start <= addr && addr < entries->v[i].end)
			return true;
	}
	return false;
}

static bool in_regions(const struct pagescan_regions *regions, uint64_t addr)
{
	for (size_t i = 0; i < regions->nr; i++) {
		if (regions->v[i].start <= addr && addr < regions->v[i].end)
			return true;
	}
	return false;
}

static void check_order(const struct image_entries *entries)
{
	const uint64_t page = pagescan_page_size();

	for (size_t i = 0; i < entries->nr; i++) {
		const struct image_entry *entry = &entries->v[i];

		MUST(entry->start <= entry->end && !(entry->start % page) && !(entry->end % page));
		MUST(!i || (entry[-1].end <= entry->start && entry[-1].offset + entry[-1].size == entry->offset));
		MUST(entry->offset >= entries->head && entry->offset + entry->size <= entries->size);
	}
}

/* The old entries are among the new ones, in order; what else is there is ours. */
static void check_filled(const struct image_entries *old, const struct image_entries *new,
			 const struct pagescan_regions *regions)
{
	size_t at = 0;

	MUST(new->head == old->head && !memcmp(new->data, old->data, old->head));
	for (size_t i = 0; i < new->nr; i++) {
		const struct image_entry *entry = &new->v[i];

		if (at < old->nr && entry->size == old->v[at].size &&
		    !memcmp(new->data + entry->offset, old->data + old->v[at].offset, entry->size)) {
			at++;
			continue;
		}
		MUST(entry->held && entry->start < entry->end);
		MUST(in_regions(regions, entry->start) && in_regions(regions, entry->end - 1));
		MUST(!within(old, entry->start) && !within(old, entry->end - 1));
	}
	MUST(at == old->nr);
	for (size_t i = 0; i < regions->nr; i++) {
		MUST(within(new, regions->v[i].start) && within(new, regions->v[i].end - 1));
		MUST(image_entries_cover(new, regions->v[i].start, regions->v[i].start));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[UINT16_MAX];
	const uint64_t page = pagescan_page_size();
	struct pagescan_regions regions = { 0 };
	struct input input = { data, size };
	struct image_entries old, new;
	const int dir = fuzz_dir(), fds = open_fds();
	uint64_t addr = 0x10000;
	uint16_t len = 0;
	uint8_t run[2];
	int fd, err;

	take(&input, &len, sizeof(len));
	fuzz_file("image", image, take(&input, image, len));
	while (take(&input, run, sizeof(run)) == sizeof(run)) {
		addr += run[0] * page;
		if (run[1])
			MUST(!pagescan_regions_add(&regions, addr, addr + run[1] * page, 0));
		addr += run[1] * page;
	}
	fd = openat(dir, "image", O_RDWR | O_CLOEXEC);
	err = image_entries_read(fd, &old);
	MUST(err <= 0 && (!err || (!old.data && !old.v && !old.nr)));
	if (!err) {
		check_order(&old);
		MUST(!image_entries_fill(fd, &old, &regions));
		MUST(!lseek(fd, 0, SEEK_SET) && !image_entries_read(fd, &new));
		check_order(&new);
		check_filled(&old, &new, &regions);
		image_entries_fini(&new);
		image_entries_fini(&old);
	}
	close(fd);
	pagescan_regions_fini(&regions);
	MUST(open_fds() == fds);
	return 0;
}
