/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * round.h - one pre-dump or dump into one image directory: its tasks, its parent's record, and its commit. There is one
 * at a time, in CRIU's one thread. Nothing here fails towards CRIU: what goes wrong is told in its log, and costs
 * bytes.
 */
#ifndef PAGESCAN_BIND_ROUND_H
#define PAGESCAN_BIND_ROUND_H

#include "audit/audit.h"
#include "track/tracker.h"

#define LAST_VARIABLE "PAGESCAN_LAST"

/*
 * A task of the round, which owns it. @visible: the tracker could look at its memory; else all that is known is "in
 * doubt dirty". @reset: CRIU has reset it, and its snapshot is empty. @verify: answers are held against @audit
 * (verify.h), which has no memory where the images cannot be read. @image_pid: by which CRIU names its images, negative
 * if that is not known. @omits: CRIU writes its image as a file, and is told nothing of clean pages (omit.h). @copied and
 * @lost: CRIU could read, or could not read, something of it after it let it run again.
 */
struct round_task {
	struct tracker tracker;
	bool visible;
	bool reset;
	bool verify;
	int image_pid;
	bool omits;
	bool copied;
	bool lost;
	struct audit audit;
	struct round_task *next;
};

/*
 * A dump is about to stop the first task: begin its round, and read what can be read of the parent images before, so that
 * nobody waits for it. Without this call the round begins with the first task.
 */
void round_prepare(void);

/*
 * CRIU opens smaps of the task behind @proc_dir, which it has frozen: take it, with the identity @id that was read just
 * now, into the round. Begins a new round if CRIU's image directory is another one than before, or the last round was
 * committed. Returns the task, the round's, or NULL where there is none: a process that CRIU has not seized is ignored,
 * one that cannot be taken in is told in CRIU's log.
 */
struct round_task *round_task_seized(int proc_dir, const struct identity *id, const struct pagescan_kernel *kernel);

/* The task with this pid, which stays the round's; NULL if it is not in the round. */
struct round_task *round_find(int pid);

/*
 * CRIU resets tracking of the task, whose pages are in CRIU's pipes or images by now. A second reset does nothing; nor does
 * any if the processes end with this dump, as LAST_VARIABLE in the environment says: protecting all memory for nobody would
 * be a part of the pause that grows with it. If they go on all the same, the epoch is that of the parent images still.
 */
void round_reset(struct round_task *task);

/*
 * CRIU could not read [start, end), bytes, whole pages, of a task after it let it run again: they are dirty. What it could read
 * is told by @copied of the task.
 */
void round_not_read(int pid, uint64_t start, uint64_t end);

/* CRIU, in a dump, has opened pagemap-@pid.img for writing as @fd. */
void round_pagemap_opened(int fd, int pid);

/* Take from an answer of @nr regions for the task what CRIU need not be told. Returns how many are left in @vec. */
size_t round_omit(const struct round_task *task, struct pagescan_region *vec, size_t nr);

/*
 * CRIU is about to make its images valid: complete them first. Returns 0 or a negative errno, told in CRIU's log: then
 * they must not become valid.
 */
int round_complete(void);

/* The images are complete: write the record of the tasks that were reset, and end the round. */
void round_commit(void);

#endif
