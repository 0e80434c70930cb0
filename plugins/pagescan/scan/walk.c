// SPDX-License-Identifier: GPL-2.0-only
/*
 * walk.c - complete walks by the PAGEMAP_SCAN ioctl, reading or write-protecting. Calls query, regions, the kernel.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "uapi.h"

/* 24 KiB on the stack; a longer vector saves no measurable time, as the ioctl costs less than the walk of so many. */
#define VEC_LEN 1024

uint64_t pagescan_page_size(void)
{
	static uint64_t size;

	if (!size)
		size = (uint64_t)sysconf(_SC_PAGESIZE);
	return size;
}

/*
 * Hands each full or final vector to the list and goes on until the range is done. A vector with room left means
 * that the walk is complete even where walk_end falls short of the end: the kernel leaves it stale after an internal
 * batch boundary (measured on 6.18). After a full one the walk goes on at walk_end, but never before the end of the
 * last region: with PM_SCAN_WP_MATCHING what was returned is protected by then and would be missed as "not written".
 */
static int walk(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query, uint64_t flags,
		struct pagescan_regions *regions)
{
	struct pagescan_region vec[VEC_LEN];
	struct pagescan_ioctl_arg arg = { .size = sizeof(arg), .flags = flags };
	int err = pagescan_query_to_kernel(query, &arg);

	if (err)
		return err == -ENODATA ? 0 : err;

	arg.end = end;
	arg.vec = (uintptr_t)vec;
	arg.vec_len = VEC_LEN;

	while (start < end) {
		int nr;

		arg.start = start;
		nr = ioctl(pagemap_fd, PAGESCAN_IOCTL, &arg);
		if (nr < 0)
			return -errno;

		for (int i = 0; i < nr; i++) {
			err = regions ? pagescan_regions_add(regions, vec[i].start, vec[i].end, vec[i].categories) : 0;
			if (err)
				return err;
		}

		if (nr < VEC_LEN)
			return 0;
		start = arg.walk_end > vec[nr - 1].end ? arg.walk_end : vec[nr - 1].end;
	}
	return 0;
}

int pagescan_walk(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
		  struct pagescan_regions *regions)
{
	return walk(pagemap_fd, start, end, query, 0, regions);
}

int pagescan_protect(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
		     struct pagescan_regions *regions)
{
	const uint64_t populated = PAGESCAN_PRESENT | PAGESCAN_SWAPPED;

	if (!(query->required & populated) && (!query->anyof || (query->anyof & ~populated)))
		return -EINVAL;
	return walk(pagemap_fd, start, end, query, PAGESCAN_WP_MATCHING, regions);
}
