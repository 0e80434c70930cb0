/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * handover.h - the end of a migration: the last dump goes over, and the processes run here or there, never both.
 */
#ifndef PAGESCAN_CMD_HANDOVER_H
#define PAGESCAN_CMD_HANDOVER_H

#include "move/hold.h"
#include "move/send.h"
#include "rounds.h"

/*
 * @wire, @send: the connection. @settle: the command that asks the destination what became of it, NULL-terminated. All of
 * that is the caller's. @hold and @rounds are handover.c's. Then when, in seconds of CLOCK_MONOTONIC: the processes were
 * about to be frozen, the images had been sent, all was restored, they ran.
 */
struct handover {
	struct wire *wire;
	struct send *send;
	char **settle;
	struct hold hold;
	struct rounds *rounds;
	double frozen_since;
	double dumped;
	double restored;
	double running;
};

/*
 * Dump what is left after the rounds and hand it over. Returns 0 if the processes run at the destination and have ended
 * here, or a negative errno with @why: they run here, and never will there; -EINTR because of an interrupt.
 */
int handover(struct handover *handover, struct rounds *rounds, struct reason *why);

#endif
