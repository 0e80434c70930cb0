/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * history.h - what the directories of a chain of rounds tell: each round's kind, bytes and pause.
 */
#ifndef PAGESCAN_REPORT_HISTORY_H
#define PAGESCAN_REPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "track/reason.h"

/* How a round was made: nothing tells, while the processes ran, while criu had stopped them, as the dump of all. */
enum history_kind { ROUND_UNKNOWN, ROUND_LIVE, ROUND_STOPPED, ROUND_DUMP };

/*
 * One image directory, @dir, which is open; @name: its own, without what leads to it. @held and @parent: bytes that its
 * images hold, and that they leave to the parent. @images: of how many tasks and shared areas. @elsewhere: there are
 * none here, the pages went to a page server, and the bytes are those that stats-dump tells. @has_stats: there is one,
 * and @paused is how long the tree stood still, in microseconds; in a live round, how long single threads did, all
 * together.
 */
struct history_round {
	int dir;
	char name[64];
	enum history_kind kind;
	uint64_t held;
	uint64_t parent;
	unsigned int images;
	bool elsewhere;
	bool has_stats;
	uint64_t paused;
};

/* The oldest round first, at least one. @incomplete: `pagescan dump` is not done with it, or has given up. */
struct history {
	struct history_round *v;
	size_t nr;
	bool incomplete;
};

/*
 * Read the chain that ends in @path, an image directory; or a directory of numbered ones, with the link `last`, or else
 * the highest number, as the end. Returns 0, and history_fini() is due; or a negative errno with @why.
 */
int history_read(struct history *history, const char *path, struct reason *why);
void history_fini(struct history *history);

/*
 * The pagemap images in the directory @dir, in no order: @visit gets the file's name, and the pid as CRIU knows the
 * task or, where @shared, the number of shared memory. It returns 0 to go on. Returns 0 or a negative errno.
 */
int history_each_image(int dir, int (*visit)(void *ctx, const char *name, uint64_t id, bool shared), void *ctx);

#endif
