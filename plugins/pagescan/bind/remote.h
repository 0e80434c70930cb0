/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * remote.h - system calls inside a task that CRIU has seized and stopped, through CRIU's own libcompel. Called by the
 * thread that has seized it, as ptrace(2) wants it.
 */
#ifndef PAGESCAN_BIND_REMOTE_H
#define PAGESCAN_BIND_REMOTE_H

#include "track/sequence.h"
#include "track/uffd.h"

/* @remote is for whoever makes the calls (track/uffd.h). The rest is remote.c's own. */
struct remote_task {
	int pid;
	struct parasite_ctl *ctl;
	struct sequence sequence;
	struct remote remote;
};

/*
 * Prepare calls inside @pid. Nothing is done to the task before the first one, so a task that needs none pays nothing.
 * remote_fini() is due before CRIU goes on with it.
 */
void remote_init(struct remote_task *task, int pid);

/* Forget about the task; its registers, memory and restartable sequence are as they were. */
void remote_fini(struct remote_task *task);

#endif
