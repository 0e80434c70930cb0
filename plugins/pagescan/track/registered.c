// SPDX-License-Identifier: GPL-2.0-only
/*
 * registered.c - ask the kernel which areas are registered. Calls scan (areas, walk), the kernel.
 */
#include <sys/ioctl.h>

#include "registered.h"
#include "scan/uapi.h"

/* WPALLOWED is a property of a whole VMA: its first page tells. */
static bool is_registered(int pagemap_fd, const struct area *area)
{
	struct pagescan_region region;
	struct pagescan_ioctl_arg arg = { .size = sizeof(arg),
					  .start = area->start,
					  .end = area->end,
					  .vec = (uintptr_t)&region,
					  .vec_len = 1,
					  .max_pages = 1,
					  .category_mask = PAGESCAN_WPALLOWED,
					  .return_mask = PAGESCAN_WPALLOWED };

	return ioctl(pagemap_fd, PAGESCAN_IOCTL, &arg) == 1;
}

/*
 * The same for many small neighbours by one call. It asks for what is not registered: the kernel passes by an area that
 * is, without a look at its pages (fs/proc/task_mmu.c, pagemap_scan_test_walk).
 */
static void look(int pagemap_fd, struct area *areas, size_t nr)
{
	const struct pagescan_query query = { .excluded = PAGESCAN_WPALLOWED };
	struct pagescan_regions found = { 0 };
	size_t at = 0;
	int err;

	if (nr == 1) {
		areas->ours = is_registered(pagemap_fd, areas);
		return;
	}
	err = pagescan_walk(pagemap_fd, areas[0].start, areas[nr - 1].end, &query, &found);
	for (size_t i = 0; i < nr; i++) {
		while (at < found.nr && found.v[at].end <= areas[i].start)
			at++;
		areas[i].ours = !err && (at == found.nr || found.v[at].start > areas[i].start);
	}
	pagescan_regions_fini(&found);
}

void registered_find(int pagemap_fd, struct areas *areas)
{
	for (size_t i = 0, run; i < areas->nr; i += run) {
		run = areas_run(areas, i);
		look(pagemap_fd, &areas->v[i], run);
	}
}
