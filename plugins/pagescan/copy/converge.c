// SPDX-License-Identifier: GPL-2.0-only
/*
 * converge.c - the estimate of a pause, and what follows from it. Calls nobody.
 */
#include <pagescan.h>

#include "converge.h"

/*
 * Of criu's last dump on the machine that docs/performance.md was measured on: an empty process, one more process in
 * the tree, and a page that the parent has (criu/mem.c walks them one by one).
 */
#define FREEZE_S 0.05
#define TASK_S	 0.003
#define PAGE_S	 15e-9

/* Rounds pay as long as each one makes the pause that much shorter. */
#define GAIN	   0.9
#define MIN_ROUNDS 3
/* Beyond what is wanted they go on, as they stop nobody, as long as they take off that much of the limit. */
#define WORTH 0.05

double converge_pause(const struct written *written, double throughput, double *copying)
{
	const double bytes = (double)(written->written + written->untracked + written->shared);
	const double pages = (bytes + (double)written->clean) / (double)pagescan_page_size();

	if (copying)
		*copying = bytes / throughput;
	return FREEZE_S + TASK_S * written->tasks + PAGE_S * pages + bytes / throughput;
}

enum converge_verdict converge_decide(struct converge *converge, double pause, double copying)
{
	const bool first = !converge->rounds++;
	const bool enough = converge->max_rounds && converge->rounds >= converge->max_rounds;
	const double worth = converge->limit * WORTH;
	const double before = converge->shortest;

	if (first || pause < before)
		converge->shortest = pause;
	if (pause <= converge->limit)
		return !enough && copying > worth && (first || before - pause > worth) ? CONVERGE_BETTER :
											 CONVERGE_FITS;
	if (enough)
		return CONVERGE_ENOUGH;
	if (converge->rounds >= MIN_ROUNDS && pause > before * GAIN)
		return CONVERGE_POINTLESS;
	return CONVERGE_GO_ON;
}
