/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * check.h - what `pagescan check` asks and prints, in two files.
 */
#ifndef PAGESCAN_CMD_CHECK_H
#define PAGESCAN_CMD_CHECK_H

#include <stdbool.h>

#include <pagescan.h>

struct item {
	const char *name;
	bool needed;
	bool yes;
	char why[512];
};

/* @name is the caller's for good. What does not fit is cut off. */
void item_set(struct item *item, const char *name, bool needed, bool yes, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/*
 * What container runtimes get: which criu, from this PATH and from a bare one, and whether the pre-checkpoints of each
 * will work. @criu: whether the criu that `pagescan criu` runs does.
 */
#define RUNTIME_ITEMS 5
void check_runtimes(struct item items[RUNTIME_ITEMS], const struct pagescan_kernel *kernel, bool breakpoints,
		    const struct item *criu);

#endif
