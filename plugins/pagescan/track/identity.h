/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * identity.h - which task this is: a pid alone is used again, and exec gives a pid new memory. A directory of /proc that is
 * open stays that of the process it was opened for.
 */
#ifndef PAGESCAN_TRACK_IDENTITY_H
#define PAGESCAN_TRACK_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * @start_time: clock ticks since boot. @stack: the address where the main stack was set up, which exec draws anew
 * (address space randomisation off: it may stay; the tracker looks at the areas themselves too).
 */
struct identity {
	int32_t pid;
	uint64_t start_time;
	uint64_t stack;
};

/*
 * Open /proc/PID. Returns a descriptor, the caller's to close, or a negative errno: -ESRCH where there is no such process.
 * Any thread.
 */
int identity_open(int pid);

/*
 * Read the identity of the process behind @proc_dir (an open /proc/PID; stays the caller's; /proc/self works).
 * Returns 0 or a negative errno. Without ptrace access the kernel hides the stack: it reads as 0.
 */
int identity_read(int proc_dir, struct identity *id);

/* Is it the same task with the same memory? All three must be equal. Pure. */
bool identity_equal(const struct identity *a, const struct identity *b);

/*
 * What the same process's status (proc_pid_status(5)) says in the line of @field: its last number, which no field asked
 * for has below 0. Returns that or a negative errno; -EIO where there is no such line.
 */
int identity_status(int proc_dir, const char *field);

#endif
