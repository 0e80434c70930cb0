/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verify.h - with PAGESCAN_VERIFY=1 in the environment every answer is held against the parent images before CRIU gets
 * it. A page that is wrongly called clean makes the run fail.
 */
#ifndef PAGESCAN_BIND_VERIFY_H
#define PAGESCAN_BIND_VERIFY_H

#include "round.h"

/*
 * The parent of the images in @dir is what the task's tracker trusts. Call it when the task is taken into the round.
 * @proc_dir: its open /proc/PID. Both stay the caller's. If the parent cannot be read, the log says so, and every
 * answer is -EIO.
 */
void verify_begin(struct round_task *task, int proc_dir, int dir);

/*
 * Hold an answer against the parent: regions of an ioctl's vector, or @nr entries of pagemap from page number @first
 * on. Returns 0, or -EIO after an error in CRIU's log.
 */
int verify_answer(struct round_task *task, const struct pagescan_region *vec, size_t nr);
int verify_entries(struct round_task *task, uint64_t first, const uint64_t *pme, size_t nr);

/* The task leaves the round: log what was compared, and let go of the images. */
void verify_end(struct round_task *task);

#endif
