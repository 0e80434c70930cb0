/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmread.h - VmFlags of a task's areas, as smaps has them, without the price of smaps.
 */
#ifndef PAGESCAN_BIND_VMREAD_H
#define PAGESCAN_BIND_VMREAD_H

#include <stdbool.h>
#include <stddef.h>

#include "vma_iter.h"
#include "vmflags.h"

/*
 * Make ready, by loading a program for it and learning from areas of this process what its bits say. It takes some
 * milliseconds. Returns 0, what vma_iter_load() returns, or -EIO if nothing can be learned. Not twice without
 * vmread_close(), and not beside other threads that map memory in this process.
 */
int vmread_open(void);
bool vmread_is_open(void);
void vmread_close(void);

/* The areas of process @pid, as vma_iter_read() has them. */
int vmread_areas(int pid, struct vma_bits **v);

/* The letters of one, as vmflags_tell() has them. */
bool vmread_letters(uint64_t bits, char text[VMFLAGS_TEXT]);

#endif
