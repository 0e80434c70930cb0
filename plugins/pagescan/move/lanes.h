/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lanes.h - connections of their own for pages, at the destination: a thread for each writes what comes.
 */
#ifndef PAGESCAN_MOVE_LANES_H
#define PAGESCAN_MOVE_LANES_H

#include "receive.h"
#include "wire.h"

/* @event: a descriptor that can be read when one of them has failed; -1 where there are none. */
struct lanes {
	struct receive *receive;
	struct lane *v;
	unsigned int nr;
	int event;
};

/*
 * The source wants them: @wire has its WIRE_LISTEN. Listen, say so, and wait until they are there and nobody else can
 * come. What they bring is for @receive. Returns 0, and lanes_close() is due, or a negative errno with @why.
 */
int lanes_open(struct lanes *lanes, struct receive *receive, struct wire *wire, struct reason *why);

/* What is still to come over them is of no use. The caller has one thread again. */
void lanes_close(struct lanes *lanes);

#endif
