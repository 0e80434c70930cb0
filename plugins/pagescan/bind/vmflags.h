/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmflags.h - from the flags of an area as the kernel has them to VmFlags, the letters of smaps.
 *
 * Which bit is which flag is no interface of the kernel's, it differs by version and architecture. So it is learned, from
 * areas of which both are known.
 */
#ifndef PAGESCAN_BIND_VMFLAGS_H
#define PAGESCAN_BIND_VMFLAGS_H

#include <stdbool.h>
#include <stdint.h>

/* A kernel word has 64 bits, and each has two letters and a space at most (fs/proc/task_mmu.c, show_smap_vma_flags). */
#define VMFLAGS_MAX  64
#define VMFLAGS_TEXT (VMFLAGS_MAX * 3 + 1)

/* All zero: nothing has been learned. */
struct vmflags {
	char names[VMFLAGS_MAX][2];
	unsigned int nr;
	uint64_t seen;		       /* bits that some area had */
	uint64_t with[VMFLAGS_MAX];    /* of a bit, the names that were there in each area that had it, */
	uint64_t without[VMFLAGS_MAX]; /* and those that were there in one that had it not */
};

/* An area has the flags @bits, and its VmFlags are @letters, as in smaps, with or without the newline. */
void vmflags_learn(struct vmflags *flags, uint64_t bits, const char *letters);

/*
 * The letters of @bits, each with a space behind it. Returns false if that is not known beyond doubt: there is a bit
 * that no area had, or one that may be one of several flags of which CRIU asks for one.
 */
bool vmflags_tell(const struct vmflags *flags, uint64_t bits, char text[VMFLAGS_TEXT]);

#endif
