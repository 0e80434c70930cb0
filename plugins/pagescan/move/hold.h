/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hold.h - tasks that criu has frozen stand still even if criu does not hold them any more.
 *
 * Once the destination may run them, a criu that is killed, or that fails for a reason of its own, would let them go on
 * here as well. So each gets a SIGSTOP before that, which waits as long as criu traces it. A SIGCONT takes it away
 * again; who handles that signal sees it.
 */
#ifndef PAGESCAN_MOVE_HOLD_H
#define PAGESCAN_MOVE_HOLD_H

#include <stdbool.h>
#include <stddef.h>

/* Initialise with zeros. @pids: those that were stopped before. @pidfds: those that are held. */
struct hold {
	int *pids;
	size_t nr_pids;
	int *pidfds;
	size_t nr;
};

/* Before the freeze: which tasks of the tree @root are stopped as it is, which they shall stay. Returns 0 or -ENOMEM. */
int hold_note(struct hold *hold, int root);

/* Frozen: hold all others. Returns 0 or a negative errno; then some may be held. */
int hold_take(struct hold *hold, int root);

/* Does somebody trace the task, as criu does what it has frozen until it lets go or ends? */
bool hold_is_traced(int pid);

/* Let those that are held go on, or end them. */
void hold_release(const struct hold *hold);
void hold_end(const struct hold *hold);

void hold_fini(struct hold *hold);

/* For one who has not taken hold: let go on what is frozen and held. */
void hold_release_frozen(int root);

/* The tree that criu was about to restore: nobody may be left who ends it. */
void hold_kill(int root);

#endif
