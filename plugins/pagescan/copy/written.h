/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * written.h - how much of a running tree's memory a last dump would have to copy now. Changes nothing in it.
 */
#ifndef PAGESCAN_COPY_WRITTEN_H
#define PAGESCAN_COPY_WRITTEN_H

#include <stddef.h>
#include <stdint.h>

#include "track/reason.h"

/* An area with @bytes written since it was protected. @name: what maps calls it, cut to fit. */
struct written_area {
	int pid;
	uint64_t start;
	uint64_t end;
	uint64_t bytes;
	char name[48];
};

/* How many of the areas with most written bytes are kept. */
#define WRITTEN_AREAS 8

/*
 * Bytes, all tasks together: written since the last round; present in private memory that is not tracked; shared memory
 * (anonymous, memfd, SysV), which CRIU dumps whole each time; clean. And the areas written most, most first.
 */
struct written {
	unsigned int tasks;
	uint64_t written;
	uint64_t untracked;
	uint64_t shared;
	uint64_t clean;
	struct written_area top[WRITTEN_AREAS];
	size_t nr;
};

/* Keep the area if it is among those written most. */
void written_keep(struct written *written, const struct written_area *area);

/* What maps calls the area (areas.h), with every byte printable, into @name of @size bytes. */
struct areas;
struct area;
void written_name(const struct areas *areas, const struct area *area, char *name, size_t size);

/* Look at the tree of @pid. Tasks that end meanwhile are left out. Returns 0, or a negative errno with @why. */
int written_read(struct written *written, int pid, struct reason *why);

#endif
