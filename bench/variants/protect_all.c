// SPDX-License-Identifier: GPL-2.0-only
/*
 * protect_all.c - the benchmark's tracker.o for a plugin that begins a round by write-protecting all memory by CRIU's
 * mask, not just what was written.
 */
#include "track/tracker.h"

static int protect_by_crius_mask(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
				 struct pagescan_regions *regions)
{
	struct pagescan_query mask = *query;

	mask.required &= ~PAGESCAN_WRITTEN;
	mask.excluded |= PAGESCAN_FILE;
	return pagescan_protect(pagemap_fd, start, end, &mask, regions);
}

#define pagescan_protect protect_by_crius_mask
#define tracker_reset	 product_tracker_reset
#include "track/tracker.c"
#undef tracker_reset

int tracker_reset(struct tracker *tracker, struct epoch_record *record, struct tracker_summary *summary)
{
	struct areas *areas = &tracker->snapshot.areas;
	int err = 0;

	for (size_t i = 0; !err && i < areas->nr; i++) {
		struct area *area = &areas->v[i];

		pagescan_regions_fini(&area->regions);
		err = pagescan_regions_add(&area->regions, area->start, area->end, PAGESCAN_SOFT_DIRTY);
	}
	return err ? err : product_tracker_reset(tracker, record, summary);
}
