// SPDX-License-Identifier: GPL-2.0-only
/*
 * single_mask.c - the benchmark's snapshot.o for a plugin without the cheap questions: every area is read by CRIU's
 * mask, tracked or not, FILE asked everywhere.
 */
#include "scan/snapshot.h"

static int walk_by_crius_mask(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
			      struct pagescan_regions *regions)
{
	struct pagescan_query mask = *query;

	mask.excluded |= PAGESCAN_FILE;
	return pagescan_walk(pagemap_fd, start, end, &mask, regions);
}

#define pagescan_walk walk_by_crius_mask
#define snapshot_init product_snapshot_init
#include "scan/snapshot.c"
#undef snapshot_init

int snapshot_init(struct snapshot *snapshot, int proc_dir, const struct pagescan_kernel *kernel)
{
	int err = product_snapshot_init(snapshot, proc_dir, kernel);

	snapshot->holes_written = false; /* what "written" alone tells is then not used */
	return err;
}
