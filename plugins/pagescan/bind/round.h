/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * round.h - one pre-dump or dump into one image directory: its tasks, its parent's record, and its commit.
 */
#ifndef PAGESCAN_BIND_ROUND_H
#define PAGESCAN_BIND_ROUND_H

#include "audit/audit.h"
#include "track/tracker.h"

/*
 * A task of the round. @visible: the tracker could look at its memory; else all that is known is "in doubt dirty".
 * @verify: answers are held against @audit (verify.h), which has no memory where the images cannot be read.
 */
struct round_task {
	struct tracker tracker;
	bool visible;
	bool reset;
	bool verify;
	struct audit audit;
	struct round_task *next;
};

/*
 * CRIU opens smaps of the task behind @proc_dir, which it has frozen: take it into the round. Begins a new round if
 * CRIU's image directory is another one than before, or the last round was committed. A directory of a process that
 * CRIU has not seized is ignored.
 */
void round_task_seized(int proc_dir, const struct pagescan_kernel *kernel);

/* The task with this pid, NULL if it is not in the round. */
struct round_task *round_find(int pid);

/* CRIU resets tracking of the task, whose pages are in CRIU's pipes or images by now. */
void round_reset(struct round_task *task);

/* CRIU could not read [start, end) of a task after it let it run again. */
void round_not_read(int pid, uint64_t start, uint64_t end);

/* The images are complete. */
void round_commit(void);

#endif
