/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hook.h - criu asks before it goes on: its action scripts, as a conversation.
 *
 * criu runs a program at each stage (--action-script), without arguments: here a link to pagescan named HOOK_PROGRAM in a
 * directory that is the migration's. Where the stage matters that connects to a socket in the directory, says the stage's
 * name, and waits for what it shall tell criu. If nobody is there, or goes away, criu gives up what
 * it does: a dump lets the processes go on, a restore lets them end. Only one that was told to doubt may not decide so:
 * it asks the other side first.
 */
#ifndef PAGESCAN_MOVE_HOOK_H
#define PAGESCAN_MOVE_HOOK_H

#include "track/reason.h"

/* What a hook is answered: a letter; HOOK_DOUBT with the arguments of the command that knows, each ending with a zero. */
enum { HOOK_GO_ON = 'g', HOOK_GIVE_UP = 'u', HOOK_DOUBT = 'd' };

#define HOOK_PROGRAM "pagescan-hook"

/* Bytes of such an answer. */
#define HOOK_MAX 4096

/*
 * Listen in the directory @dir, an open descriptor that stays the caller's, and put the program there. Returns a
 * descriptor, the caller's, or a negative errno with @why.
 */
int hook_listen(int dir, struct reason *why);

/* Somebody is there: take the connection and the stage's name. Returns the descriptor, the caller's, or -1. */
int hook_accept(int listener, char stage[32]);

/* Connect and say the stage. Returns the descriptor, the caller's, or a negative errno. */
int hook_connect(const char *dir, const char *stage);

#endif
