/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vma_iter.h - the areas of a task with their flags, as the kernel has them, without a walk of its page tables.
 */
#ifndef PAGESCAN_BIND_VMA_ITER_H
#define PAGESCAN_BIND_VMA_ITER_H

#include <stddef.h>
#include <stdint.h>

/* Addresses [start, end); the flags are vm_flags, whose bits differ by kernel. */
struct vma_bits {
	uint64_t start;
	uint64_t end;
	uint64_t bits;
};

/*
 * Load the program that tells them. Returns its descriptor, the caller's, or a negative errno: -ENOENT if the kernel does
 * not describe its types, -EPERM without CAP_BPF and CAP_PERFMON in the first user namespace, or where that is locked.
 */
int vma_iter_load(void);

/*
 * The areas of process @pid by that program, ascending. *v is the caller's to free. Returns their number or a negative
 * errno. The kernel holds the lock of its memory for one buffer at a time (32 KiB, 1,365 areas), so a task that runs may
 * change between two of them.
 */
int vma_iter_read(int program, int pid, struct vma_bits **v);

#endif
