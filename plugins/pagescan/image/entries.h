/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * entries.h - read a pagemap-PID.img that CRIU has written, and put entries into it that CRIU does not have.
 */
#ifndef PAGESCAN_IMAGE_ENTRIES_H
#define PAGESCAN_IMAGE_ENTRIES_H

#include <pagescan.h>

/* [start, end) of the address space; and where its message lies in the file, all in bytes. @held: the images have it. */
struct image_entry {
	uint64_t start;
	uint64_t end;
	size_t offset;
	size_t size;
	bool held;
};

/* The file's bytes, of which @head come before the first entry; and its entries, ascending. */
struct image_entries {
	uint8_t *data;
	size_t size;
	size_t head;
	struct image_entry *v;
	size_t nr;
	size_t room;
};

/*
 * Read all of the file behind @fd, which stays the caller's and is at its beginning. Returns 0, -EBADMSG (not such a
 * file, cut off, or not ascending), -EOPNOTSUPP (with fields or flags that are not known here) or another negative errno;
 * then @entries is empty. image_entries_fini() is due after 0.
 */
int image_entries_read(int fd, struct image_entries *entries);

/* Do the images, or their parents, have all of [start, end), bytes? As CRIU asks of a parent (check_pagehole_in_parent). */
bool image_entries_cover(const struct image_entries *entries, uint64_t start, uint64_t end);

/*
 * Write the file behind @fd, from which @entries was read, anew with entries that refer to the parent for the @regions
 * (ascending) as far as it has none there. What is there stays as it is, byte by byte. Returns 0 or a negative errno:
 * then the file is not one to be used.
 */
int image_entries_fill(int fd, const struct image_entries *entries, const struct pagescan_regions *regions);

/*
 * Forget all but which pages the images hold: what is left are runs of these, apart from each other, which messages they
 * were in is not told any more, and image_entries_cover() says the same as before.
 */
void image_entries_merge(struct image_entries *entries);

/*
 * For a reader that has @read bytes of the file behind @from, and whom it suffices to know which pages the images have:
 * write to @to, an empty file, the messages that begin before that, as they are, and behind them an entry for each run of
 * @merged, which was read from the same file. These refer to a parent, so that nobody takes their pages to be there.
 * @merged: NULL if even that is of no interest. Both files stay the caller's, @from where it is. Returns 0; -EBADMSG (no
 * whole messages); or another negative errno.
 */
int image_entries_shorten(int from, size_t read, const struct image_entries *merged, int to);

void image_entries_fini(struct image_entries *entries);

#endif
