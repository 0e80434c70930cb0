/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verdict.h - what became of a migration, told by the destination's directory, once and for all.
 *
 * Between the source's "let them run" and the destination's "they run" the connection may break. Then who asks here
 * either hears what happened or, if nothing has, makes sure that it never will.
 */
#ifndef PAGESCAN_MOVE_VERDICT_H
#define PAGESCAN_MOVE_VERDICT_H

#include "track/reason.h"

enum verdict {
	VERDICT_GOING,	   /* the processes are about to run */
	VERDICT_RUNNING,   /* they do */
	VERDICT_FAILED,	   /* they could not, and never will */
	VERDICT_CANCELLED, /* somebody asked before, and they never will */
};

extern const char *const verdict_names[];

/* Who holds the lock may still change the verdict. Returns a descriptor, the caller's, or a negative errno; -EAGAIN. */
int verdict_lock(int dir);

/* The first one to say it is right: returns 0, or -EEXIST if there is a verdict already, or another negative errno. */
int verdict_say(int dir, enum verdict verdict);

/* What was GOING has come to its end. Returns 0 or a negative errno. */
int verdict_change(int dir, enum verdict verdict);

/* Returns it, or -ENOENT: there is none, or another negative errno. */
int verdict_read(int dir);

#endif
