/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * snapshot.h - what is in a frozen process's memory, read once, and what of it was written since the parent images.
 *
 * The regions hold the pages that CRIU's mask selects (criu/pagemap-cache.c: present or swapped, neither the file's
 * nor the zero page), each PRESENT or SWAPPED, GUARD where the kernel tells, and SOFT_DIRTY unless the page is known
 * to be in the parent images. Memory: 48 bytes and its line of maps an area, 24 bytes a region, nothing a page.
 */
#ifndef PAGESCAN_SCAN_SNAPSHOT_H
#define PAGESCAN_SCAN_SNAPSHOT_H

#include "areas.h"
#include "uapi.h"

/*
 * Owns its descriptor and its areas. @guard and @holes_written: the kernel's (struct pagescan_kernel). @resident: bytes
 * of the process that were in memory when the snapshot began, all areas together; 0 where that is not known. For one
 * thread.
 */
struct snapshot {
	int pagemap_fd;
	bool guard;
	bool holes_written;
	uint64_t resident;
	struct areas areas;
};

/*
 * Begin a snapshot of the process behind @proc_dir (an open /proc/PID; stays the caller's). Reads maps, no page
 * tables: an area is read when it is first asked about. @kernel: what it offers (pagescan_probe).
 * Returns 0 or a negative errno, then the snapshot is empty.
 */
int snapshot_init(struct snapshot *snapshot, int proc_dir, const struct pagescan_kernel *kernel);

/* Close and free what it has; it is empty then, and may be ended again. */
void snapshot_fini(struct snapshot *snapshot);

/*
 * CRIU's question about [start, end) (criu/pagemap-cache.c, pmc_fill), with room for @len regions in @vec, the
 * caller's. From 4.2 on CRIU wants PAGESCAN_GUARD returned, too, where the kernel tells it.
 */
struct pagescan_ioctl_arg snapshot_question(uint64_t start, uint64_t end, struct pagescan_region *vec, size_t len);

/*
 * Answer a PAGEMAP_SCAN call as the kernel would with soft-dirty tracking. Writes the caller's vector and walk_end.
 * Returns the number of regions, -EOPNOTSUPP for a question that is not CRIU's (nothing was written then), or
 * another negative errno.
 */
int snapshot_scan(struct snapshot *snapshot, struct pagescan_ioctl_arg *arg);

/*
 * Give @nr entries that were read from /proc/PID/pagemap at page @first (page number) the snapshot's soft-dirty bits.
 * Returns 0 or a negative errno.
 */
int snapshot_patch(struct snapshot *snapshot, uint64_t first, uint64_t *pme, size_t nr);

#endif
