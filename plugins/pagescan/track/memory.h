/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memory.h - read a task's memory and leave it as it is.
 *
 * process_vm_readv(2) does not: it pins the pages, and one that a fork has left shared gets a copy of its own for that
 * (mm/gup.c, gup_must_unshare; Linux 5.19). The process then needs that memory twice, and its huge pages are split. Worse,
 * the copy counts as clean (mm/memory.c, wp_page_copy), and whoever gives up a clean page by MADV_FREE is not asked who else
 * maps it (mm/madvise.c, madvise_free_pte_range): a child that shares the copy later can take it from its parent, who
 * finds zeros. /proc/PID/mem takes a mere reference to a page (mm/memory.c, __access_remote_vm).
 *
 * But where nothing is mapped any more below a stack, or another area made with MAP_GROWSDOWN, it lets that grow down to the
 * address (there, expand_stack), which may then lie in an area that the process did not make, with a protection that it did
 * not ask for. The kernel asks for the limit of who reads (mm/vma.c, acct_stack_growth, RLIMIT_STACK), so that is 0 meanwhile.
 */
#ifndef PAGESCAN_TRACK_MEMORY_H
#define PAGESCAN_TRACK_MEMORY_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Returns a descriptor, the caller's, of the memory that the task behind @proc_dir (an open /proc/PID) has now, or a
 * negative errno.
 */
int memory_open(int proc_dir);

/*
 * Read the @nr ranges of addresses and bytes @from, one behind the other, into @to. Returns how many bytes came: less than
 * all up to a page that cannot be read. Or a negative errno: -EFAULT if that is the first page, -ESRCH if the memory is
 * gone with its task or by an exec. For any thread; no other one of this process starts a program meanwhile, as that would
 * have no room for a stack.
 */
ssize_t memory_read(int fd, void *to, const struct iovec *from, size_t nr);

#endif
