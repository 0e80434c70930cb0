/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * huge.h - huge pages on the way: memory is read into them where it will be forked, and is on small ones again when
 * it runs.
 *
 * A fork copies an entry for each page, while nobody runs: on small pages 7 to 40 ms a GiB, on huge ones next to
 * nothing. And the kernel clears 2 MiB at once much faster than page by page. Which pages a process has is not changed by
 * that: where the kernel would not have given it huge ones, they are split when it runs.
 */
#ifndef PAGESCAN_LAND_HUGE_H
#define PAGESCAN_LAND_HUGE_H

#include <stdint.h>

#include "image/read.h"

#define HUGE_BYTES (2UL << 20)

/*
 * Read HUGE_BYTES from @offset of @fd to @to, an aligned piece of an area of this process that is mapped and empty, and
 * which needs no advice for that. Returns 0 or a negative errno: then nothing is there; -EOPNOTSUPP: this kernel, or its
 * settings, have no such pages, or UFFDIO_MOVE (6.8) is missing; none of the next will do better.
 */
int huge_read(int fd, void *to, uint64_t offset);

/* What huge_read() keeps from one to the next is let go of. */
void huge_fini(void);

/*
 * Unmap the huge pages in [start, end), bytes, of this process; where it cannot be told which are, all that is there.
 */
void huge_unmap(uint64_t start, uint64_t end);

/*
 * Split the huge pages of the running process @pid in those of @areas which the kernel would not give any. Needs
 * CAP_SYS_NICE, as process_madvise(2) does; without it, or if it fails, they stay.
 */
void huge_split(int pid, const struct image_areas *areas);

#endif
