/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tracker.h - one frozen task through one round: find its tracker again or make one, say what is clean, and begin the
 * next epoch. The task must stay frozen from tracker_open() to tracker_reset().
 */
#ifndef PAGESCAN_TRACK_TRACKER_H
#define PAGESCAN_TRACK_TRACKER_H

#include "epoch.h"
#include "scan/snapshot.h"
#include "uffd.h"

/*
 * @uffd is -1 for a task that cannot be tracked in this round: then all its pages are dirty, nothing is reset, and
 * @why says the reason. @trusted: the parent images are those of the tracker's present epoch; where it is false and
 * @why is not empty, the reason is worth telling.
 */
struct tracker {
	struct identity id;
	struct snapshot snapshot;
	struct epoch epoch;
	int uffd;
	bool trusted;
	struct reason why;
};

/* What a reset did, for the log. Pages of the system's page size. */
struct tracker_summary {
	uint64_t areas;
	uint64_t registered;
	uint64_t refused;
	uint64_t clean_pages;
	uint64_t dirty_pages;
};

/*
 * Begin a round for the task behind @proc_dir (an open /proc/PID; stays the caller's). @parent: the record of the
 * parent images for this task, NULL for none, with @no_parent_why saying what is wrong with them (empty: there is
 * no parent). @remote: NULL if tracking shall not begin where there is none. Returns 0, also for a task that cannot be tracked, or a negative errno with tracker->why if its memory
 * cannot even be looked at. tracker_close() is due after success.
 */
int tracker_open(struct tracker *tracker, int proc_dir, const struct pagescan_kernel *kernel,
		 const struct epoch_image *parent, const char *no_parent_why, const struct remote *remote);

/*
 * CRIU's reset: begin the next epoch, register new areas, protect what this round's images hold, and let go of areas
 * that they do not hold. Call it once, after the snapshot has answered all of CRIU's questions. Then the snapshot is
 * empty. Returns 0 with the record for pagescan.img, or a negative errno with tracker->why: then the round has no
 * record and the next one is a full one.
 */
int tracker_reset(struct tracker *tracker, struct epoch_record *record, struct tracker_summary *summary);

/* A page of the round's images turned out to be missing: [start, end) is dirty. Between reset and close. */
void tracker_mark_dirty(struct tracker *tracker, uint64_t start, uint64_t end);

void tracker_close(struct tracker *tracker);

#endif
