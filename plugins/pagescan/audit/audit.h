/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * audit.h - is a page that was called clean in the images, byte by byte? The check of the one rule that must never be
 * broken, for tests and for whoever wants to be sure.
 */
#ifndef PAGESCAN_AUDIT_AUDIT_H
#define PAGESCAN_AUDIT_AUDIT_H

#include <pagescan.h>

#include "chain.h"

/*
 * The images, the task's memory (-1: not open), room for some pages of both; and what has been compared so far, in
 * pages: all, and of them those that differ and those that no image has. For one thread.
 */
struct audit {
	struct chain chain;
	int mem_fd;
	char *buf;
	uint64_t compared;
	uint64_t different;
	uint64_t missing;
};

/*
 * Hold the memory of the task behind @proc_dir (an open /proc/PID; stays the caller's) against its images in @path
 * relative to @dir. Returns 0 or a negative errno with @why, as chain_open(). audit_close() is due after success.
 */
int audit_open(struct audit *audit, int proc_dir, int dir, const char *path, struct reason *why);

/*
 * Compare [start, end), bytes, of memory that does not change meanwhile. Returns 0, -EBADMSG if a page differs or no
 * image has it, or another negative errno if memory or images could not be read; @why names the first such page.
 * It reads without a trace: pages stay protected, shared and merged as they are.
 */
int audit_range(struct audit *audit, uint64_t start, uint64_t end, struct reason *why);

/* The same for those of the @nr regions in @vec, an answer of the snapshot (snapshot_scan), that are told as clean. */
int audit_answer(struct audit *audit, const struct pagescan_region *vec, size_t nr, struct reason *why);

/*
 * Put @err, which one of several comparisons returned, into the *verdict of all, which begins with 0. Returns whether
 * it makes sense to go on: all pages are to be counted, but what cannot be read ends it. Only the first comparison
 * that finds something has its @why to tell: let it be NULL as soon as there is a verdict.
 */
bool audit_goes_on(int *verdict, int err);

/* Let go of images and memory; the counts are gone, too. Harmless where nothing is open. */
void audit_close(struct audit *audit);

#endif
