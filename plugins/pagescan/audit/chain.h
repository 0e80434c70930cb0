/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * chain.h - the memory of one task as CRIU's images hold it: a directory, its parent, the parent's parent, and so on.
 */
#ifndef PAGESCAN_AUDIT_CHAIN_H
#define PAGESCAN_AUDIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "track/reason.h"

/* [start, end) of the address space, in bytes; @held: at @offset of the layer's pages, else in the layer below. */
struct extent {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	bool held;
};

/* One directory (@dev, @ino): its extents, ascending, and its file of pages. */
struct layer {
	dev_t dev;
	ino_t ino;
	struct extent *v;
	size_t nr;
	size_t room;
	int pages_fd;
};

/* The youngest directory first. For one thread. */
struct chain {
	struct layer *v;
	size_t nr;
};

/*
 * Open the images of the task that CRIU knows as @pid, in @path relative to @dir and in all its ancestors. Returns 0,
 * -ENOENT (there is no memory of this task), -EBADMSG (images that contradict themselves, or a file of pages that is not
 * as long as they tell), -EOPNOTSUPP (a version, a field or a flag that is not known here) or another negative errno,
 * each with @why. Nothing that the files can hold makes it crash,
 * loop, or allocate more than a few times their size. chain_close() is due after success.
 */
int chain_open(struct chain *chain, int dir, const char *path, int pid, struct reason *why);

/* Where the bytes at an address are: in a file of the chain's, from @offset on, as far as address @end. In bytes. */
struct chain_piece {
	int fd;
	uint64_t offset;
	uint64_t end;
};

/* Find the page at @addr (bytes) in the youngest layer that has it. Returns 0 or -ENOENT: no layer has it. */
int chain_find(const struct chain *chain, uint64_t addr, struct chain_piece *piece);

/* Free the lists and close the files; the chain is empty then. */
void chain_close(struct chain *chain);

#endif
