// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap.c - the same queries answered from reads of /proc/PID/pagemap, for kernels without the ioctl and as the
 * oracle of the tests. Calls query, regions, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

#define BATCH 4096

/*
 * Read off two pages of our own that were only read: on some machines' kernels these get frames like others, and there
 * is no zero page. The huge zero page has frames of its own, which this cannot know; small pages only.
 */
int pagescan_zero_frame(uint64_t *frame)
{
	static uint64_t found;
	static bool known;
	const size_t size = pagescan_page_size();
	uint64_t pme[2] = { 0 };
	volatile char *pages;
	int fd, err = 0;

	*frame = found;
	if (known)
		return 0;

	pages = mmap(NULL, 2 * size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -errno;
	(void)pages[0];
	(void)pages[size];
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, pme, sizeof(pme), (off_t)((uintptr_t)pages / size * 8)) < 0)
		err = -errno;
	known = !err;
	if ((pme[0] & PME_FRAME_MASK) == (pme[1] & PME_FRAME_MASK))
		*frame = found = pme[0] & PME_FRAME_MASK;
	if (fd >= 0)
		close(fd);
	munmap((void *)pages, 2 * size);
	return err;
}

static uint64_t categories_of(uint64_t pme, uint64_t zero_frame)
{
	uint64_t categories = 0;

	if (pme & PME_PRESENT)
		categories |= PAGESCAN_PRESENT;
	if (pme & PME_SWAP)
		categories |= PAGESCAN_SWAPPED;
	if (!categories)
		return 0;
	if (pme & PME_FILE)
		categories |= PAGESCAN_FILE;
	if (pme & PME_GUARD)
		categories |= PAGESCAN_GUARD;
	if (pme & PME_SOFT_DIRTY)
		categories |= PAGESCAN_SOFT_DIRTY;
	if (!(pme & PME_UFFD_WP))
		categories |= PAGESCAN_WRITTEN;
	if ((pme & PME_PRESENT) && (pme & PME_FRAME_MASK) && (pme & PME_FRAME_MASK) == zero_frame) {
		categories |= PAGESCAN_PFNZERO;
		categories &= ~PAGESCAN_FILE; /* pagemap calls every non-anonymous page FILE, the ioctl not this one */
	}
	return categories;
}

int pagescan_walk_pagemap(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
			  struct pagescan_regions *regions)
{
	const uint64_t named = query->required | query->anyof | query->excluded | query->returned;
	const uint64_t page = pagescan_page_size();
	uint64_t pme[BATCH], zero_frame;
	int err;

	if (named & ~PAGESCAN_ALL)
		return -EINVAL;
	if (named & (PAGESCAN_HUGE | PAGESCAN_WPALLOWED))
		return -EOPNOTSUPP;
	err = pagescan_zero_frame(&zero_frame);
	if (err)
		return err;

	while (start < end) {
		uint64_t pages = (end - start + page - 1) / page;
		ssize_t got = pread(pagemap_fd, pme, (pages < BATCH ? pages : BATCH) * sizeof(*pme),
				    (off_t)(start / page * sizeof(*pme)));

		if (got < 0)
			return -errno;
		if (got < (ssize_t)sizeof(*pme))
			return 0; /* past the end of the address space */

		for (size_t i = 0; i < (size_t)got / sizeof(*pme); i++, start += page) {
			uint64_t categories = categories_of(pme[i], zero_frame);

			/* An empty entry is no page: the ioctl would report it only to a query without any mask. */
			if (!categories || !pagescan_query_match(query, categories))
				continue;
			err = pagescan_regions_add(regions, start, start + page, categories & query->returned);
			if (err)
				return err;
		}
	}
	return 0;
}
