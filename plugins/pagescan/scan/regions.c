// SPDX-License-Identifier: GPL-2.0-only
/*
 * regions.c - a growing list of regions in which equal neighbours are one. Calls libc only.
 */
#include <errno.h>
#include <stdlib.h>

#include <pagescan.h>

int pagescan_regions_add(struct pagescan_regions *regions, uint64_t start, uint64_t end, uint64_t categories)
{
	struct pagescan_region *last = regions->nr ? &regions->v[regions->nr - 1] : NULL;

	if (start >= end || (last && start < last->end))
		return -EINVAL;

	if (last && last->end == start && last->categories == categories) {
		last->end = end;
		return 0;
	}

	if (!regions->v || regions->nr == regions->room) {
		size_t room = regions->room ? regions->room * 2 : 8;
		struct pagescan_region *v = reallocarray(regions->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		regions->v = v;
		regions->room = room;
	}

	regions->v[regions->nr++] = (struct pagescan_region){ start, end, categories };
	return 0;
}

uint64_t pagescan_regions_bytes(const struct pagescan_regions *regions)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < regions->nr; i++)
		bytes += regions->v[i].end - regions->v[i].start;
	return bytes;
}

void pagescan_regions_fini(struct pagescan_regions *regions)
{
	free(regions->v);
	*regions = (struct pagescan_regions){ 0 };
}
