/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * thread.h - stop one thread of a running process for as long as a few system calls take, and run them in it.
 *
 * Its other threads go on. Nothing is written to the process's memory: the calls are made by a system call instruction
 * that its vdso has, so no thread can meet changed code. The thread's registers, signal mask, job control state and
 * restartable sequence are afterwards as they were, and no signal is made. A system call that it was in is restarted by
 * the kernel as after any stop (signal(7), "Interruption of system calls and library functions by stop signals").
 */
#ifndef PAGESCAN_TRACK_THREAD_H
#define PAGESCAN_TRACK_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "reason.h"
#include "sequence.h"
#include "uffd.h"

/*
 * A thread that the calling thread has stopped. @remote runs calls in it (uffd.h). @gone: it ended, or was killed. @since:
 * when it was told to stop, of clock_ns(). The rest is thread.c's own.
 */
struct thread {
	int pid;
	int tid;
	bool gone;
	uint64_t since;
	bool altered;
	uint64_t instruction;
	uint64_t signals;
	int stop_signal;
	struct sequence sequence;
	struct registers *registers;
	struct remote remote;
};

/*
 * Stop a thread of @pid that can run system calls. A wait for one that does not stop (it may sleep in the kernel) ends
 * when a signal handler runs in the caller: install one, without SA_RESTART, and a timer. Returns 0, and thread_go() is
 * due before the caller does anything that may end it: a thread whose tracer ends between the two loses its registers.
 * Or a negative errno with @why: -EBUSY (somebody else traces it), -EPERM, -ESRCH, -ETIMEDOUT, -EOPNOTSUPP (not of our
 * word size, or no vdso). Then nothing was done to the process.
 */
int thread_stop(struct thread *thread, int pid, struct reason *why);

/* Let it go on as if nothing had been. Returns 0, or -ESRCH where it ended meanwhile. */
int thread_go(struct thread *thread);

#endif
