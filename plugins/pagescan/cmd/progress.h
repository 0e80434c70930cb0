/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * progress.h - how `pagescan dump` and `pagescan migrate` tell what it does: a line that moves on a terminal, plain lines, or JSON.
 */
#ifndef PAGESCAN_CMD_PROGRESS_H
#define PAGESCAN_CMD_PROGRESS_H

#include "copy/live_round.h"
#include "copy/written.h"

/* @limit: the pause that is wanted, in seconds. @json: one object a line. To be called first. */
void progress_begin(bool json, double limit);

/* A round begins. */
void progress_round(unsigned int round);

/* For struct copy_plan. */
void progress_copied(const struct copy_counts *counts);

/*
 * The round is over; @live: it did not stop the tree. What a last dump would have to copy now, @pause seconds long as
 * estimated, and @throughput in bytes a second.
 */
void progress_round_done(bool live, const struct live_result *result, const struct written *written, double pause,
			 double throughput);

/*
 * All is over. @verdict: a word for machines. @text: a sentence for people. @frozen: milliseconds that the tree stood
 * still, negative where it was not dumped.
 */
void progress_end(const char *verdict, const char *text, double frozen, uint64_t bytes);

/* Of a migration, milliseconds: to freeze, dump and send the rest; to restore; until they ran. */
struct downtime {
	double dump;
	double restore;
	double resume;
};

/* The same for a tree that has moved. @bytes: all that was sent. */
void progress_moved(const char *verdict, const char *text, const struct downtime *downtime, uint64_t bytes);

#endif
