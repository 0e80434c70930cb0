/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * remote.h - system calls inside a task that CRIU has seized and stopped, through CRIU's own libcompel.
 */
#ifndef PAGESCAN_BIND_REMOTE_H
#define PAGESCAN_BIND_REMOTE_H

#include "track/uffd.h"

/* Nothing is done to the task before the first system call, so a task that needs none pays nothing. */
struct remote_task {
	int pid;
	struct parasite_ctl *ctl;
	void *sequence_at;
	long sequence; /* the restartable sequence that it was stopped in, 0 for none */
	struct remote remote;
};

void remote_init(struct remote_task *task, int pid);

/* Forget about the task; its registers and memory are as they were. */
void remote_fini(struct remote_task *task);

#endif
