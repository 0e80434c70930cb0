/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * converge.h - when is it time for the last dump? Pure.
 */
#ifndef PAGESCAN_COPY_CONVERGE_H
#define PAGESCAN_COPY_CONVERGE_H

#include "written.h"

/*
 * @limit: the pause that is wanted, in seconds. @max_rounds: 0 for as many as pay. The rest is converge.c's: how many
 * rounds there were, and the shortest pause estimated after one of them before the last.
 */
struct converge {
	double limit;
	unsigned int max_rounds;
	unsigned int rounds;
	double shortest;
};

enum converge_verdict {
	CONVERGE_GO_ON,
	CONVERGE_FITS,	    /* the pause is within the limit */
	CONVERGE_BETTER,    /* so it is, and another round would make it shorter */
	CONVERGE_POINTLESS, /* another round would not make it shorter */
	CONVERGE_ENOUGH,    /* these were @max_rounds */
};

/*
 * Seconds that a dump would stop the tree for now, until its images are complete: the fixed price of a freeze, for each
 * task, for each page that is looked at, and the bytes to copy at @throughput, bytes a second. Shared memory counts as
 * often as it is mapped, so it is no less than that. *copying, if it is not NULL: the part of it that is for the bytes.
 */
double converge_pause(const struct written *written, double throughput, double *copying);

/* A round is over, after which a dump would take @pause seconds, @copying of them for what has been written since. */
enum converge_verdict converge_decide(struct converge *converge, double pause, double copying);

#endif
