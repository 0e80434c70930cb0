/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * audit.h - is a page that was called clean in the images, byte by byte? The check of the one rule that must never be
 * broken, for tests and for whoever wants to be sure.
 */
#ifndef PAGESCAN_AUDIT_AUDIT_H
#define PAGESCAN_AUDIT_AUDIT_H

#include <pagescan.h>

#include "chain.h"

/* What has been compared so far, in pages: all, and of them those that differ and those that no image has. */
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

/* The same for the regions of an answer of the snapshot that are told as clean. */
int audit_answer(struct audit *audit, const struct pagescan_region *vec, size_t nr, struct reason *why);

void audit_close(struct audit *audit);

#endif
