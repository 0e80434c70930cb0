/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pagescan.h - ask the kernel which pages of a process are in which state.
 *
 * This is the contract of plugins/pagescan/scan: queries over page categories, complete walks of an address range,
 * and regions as their answer. It knows nothing of CRIU and nothing of tracking.
 *
 * Units: addresses and lengths are bytes, every range is half-open [start, end) and starts on a page boundary; the
 * page size is the kernel's (pagescan_page_size()), never assumed. Errors are negative errno values; nothing here
 * prints. Threads: an object may be used by one thread at a time; functions without an object are reentrant.
 */
#ifndef PAGESCAN_H
#define PAGESCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Categories of a page. The values are those of PAGE_IS_* in the kernel's uapi (include/uapi/linux/fs.h, 6.7 and
 * later), so that a mask needs no translation of its own.
 */
#define PAGESCAN_WPALLOWED  (1ULL << 0) /* its area is registered for asynchronous write-protection */
#define PAGESCAN_WRITTEN    (1ULL << 1) /* not write-protected; tells something only together with WPALLOWED */
#define PAGESCAN_FILE	    (1ULL << 2) /* backed by a file or shared memory, not by an anonymous page */
#define PAGESCAN_PRESENT    (1ULL << 3) /* in memory */
#define PAGESCAN_SWAPPED    (1ULL << 4) /* in swap, under migration, or a marker in an empty entry */
#define PAGESCAN_PFNZERO    (1ULL << 5) /* maps the shared zero page */
#define PAGESCAN_HUGE	    (1ULL << 6) /* mapped by a PMD (THP) or hugetlb entry */
#define PAGESCAN_SOFT_DIRTY (1ULL << 7) /* the kernel's soft-dirty bit */
#define PAGESCAN_GUARD	    (1ULL << 8) /* guard marker of madvise(MADV_GUARD_INSTALL), where the kernel tells */
#define PAGESCAN_ALL	    ((1ULL << 9) - 1)

/*
 * A question: which pages have all categories of @required, at least one of @anyof (if any is named) and none of
 * @excluded? Neighbours are told apart by the categories in @returned.
 */
struct pagescan_query {
	uint64_t required;
	uint64_t anyof;
	uint64_t excluded;
	uint64_t returned;
};

/* A run of pages that answer a query alike. The layout is the kernel's struct page_region. */
struct pagescan_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

/*
 * A growing list of regions, ascending and without overlap; neighbours with equal categories are one. Initialise
 * with zeros; the list owns @v until pagescan_regions_fini(). Cost: 24 bytes a region.
 */
struct pagescan_regions {
	struct pagescan_region *v;
	size_t nr;
	size_t room;
};

/*
 * Append [start, end). It must not begin before the end of the last region.
 * Returns 0, -EINVAL (empty, or out of order) or -ENOMEM.
 */
int pagescan_regions_add(struct pagescan_regions *regions, uint64_t start, uint64_t end, uint64_t categories);

/* The sum of all lengths, bytes. */
uint64_t pagescan_regions_bytes(const struct pagescan_regions *regions);

/* Free the list's memory and make it empty. */
void pagescan_regions_fini(struct pagescan_regions *regions);

/* Does a page with exactly these @categories answer @query? Pure. */
bool pagescan_query_match(const struct pagescan_query *query, uint64_t categories);

/* Bytes of a page. */
uint64_t pagescan_page_size(void);

/*
 * What the running kernel offers, found by asking it (see scan/probe.c). @scan: the PAGEMAP_SCAN ioctl. @guard: it
 * knows PAGESCAN_GUARD. @wp_async: userfaultfd with asynchronous write-protection, for this caller. @holes_written: in
 * a registered area, memory without a page table reads as written like any other empty entry (kernels before mid-2026
 * report nothing there). @soft_dirty: the soft-dirty bit works. What cannot be tried is not there, with a negative
 * errno in @..._error.
 */
struct pagescan_kernel {
	bool scan;
	bool guard;
	bool wp_async;
	bool holes_written;
	bool soft_dirty;
	int scan_error;
	int wp_async_error;
	int soft_dirty_error;
};

/*
 * Fill @kernel by trying each thing on memory of the caller's own. Always succeeds. Where soft-dirty works, it clears
 * the soft-dirty bits of the caller, the whole process.
 */
void pagescan_probe(struct pagescan_kernel *kernel);

/*
 * Walk [start, end) of the process behind @pagemap_fd (an open /proc/PID/pagemap; stays the caller's) by the
 * PAGEMAP_SCAN ioctl and append what answers @query to @regions. The walk is complete whatever the kernel's batch
 * boundaries are, with a bounded vector, and changes nothing in the process.
 *
 * Returns 0 or a negative errno: -ENOTTY on a kernel before 6.7, -EINVAL for unknown categories, -ESRCH when the
 * process has no memory any more, -ENOMEM. After an error @regions holds what was found before it.
 */
int pagescan_walk(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
		  struct pagescan_regions *regions);

/*
 * The same question answered from reads of /proc/PID/pagemap: for kernels before 6.7, and as the oracle that tests
 * hold pagescan_walk() against. Needs CAP_SYS_ADMIN to tell the zero page and swap markers (frame numbers read as 0
 * otherwise, and then PFNZERO is never reported); PAGESCAN_HUGE and PAGESCAN_WPALLOWED are not in pagemap: a query
 * that names them gets -EOPNOTSUPP.
 */
int pagescan_walk_pagemap(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
			  struct pagescan_regions *regions);

/*
 * Write-protect what answers @query in [start, end), in areas registered for asynchronous write-protection; other
 * areas are skipped by the kernel without a word. The query must name PRESENT or SWAPPED in @required or @anyof:
 * protecting an empty entry would make a page that appears later look clean (-EINVAL).
 * What was protected is appended to @regions, where not NULL. Returns 0 or a negative errno as pagescan_walk().
 */
int pagescan_protect(int pagemap_fd, uint64_t start, uint64_t end, const struct pagescan_query *query,
		     struct pagescan_regions *regions);

#endif
