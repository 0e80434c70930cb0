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
 * Owns its descriptors and its snapshot. @uffd is -1 for a task that cannot be tracked in this round: then all its
 * pages are dirty, nothing is reset, and @why says the reason. @trusted: the parent images are those of the tracker's
 * present epoch; where it is false and @why is not empty, the reason is worth telling. @reads, if not empty: a device may be
 * about to write pages that this round copies, as it says (direct_io.h).
 */
struct tracker {
	struct identity id;
	struct snapshot snapshot;
	struct epoch epoch;
	int uffd;
	bool trusted;
	struct reason why;
	struct reason reads;
};

/*
 * What a reset did, for the log: areas that are tracked now, of them those registered anew, areas that could not
 * be registered; and pages, of the system's page size, in the areas that are tracked.
 */
struct tracker_summary {
	uint64_t areas;
	uint64_t registered;
	uint64_t refused;
	uint64_t clean_pages;
	uint64_t dirty_pages;
};

/*
 * Begin a round for the task behind @proc_dir (an open /proc/PID; stays the caller's). @id: its identity, read from
 * there while it was frozen already. @kernel: what it offers (pagescan_probe). @parent: the record of the parent
 * images, empty for none, with @no_parent_why saying what is wrong with them (empty: there is no parent). Returns 0,
 * also for a task that is not tracked, or a negative errno with tracker->why if its memory cannot even be looked at;
 * tracker_close() may be called either way.
 */
int tracker_open(struct tracker *tracker, int proc_dir, const struct identity *id, const struct pagescan_kernel *kernel,
		 const struct epoch_image *parent, const char *no_parent_why);

/*
 * Begin to track the task, if it is not tracked already. Call it before anything is copied, also of a task that is: it
 * finds out, and waits for some milliseconds, whether a device may be about to write the task's memory (tracker->reads).
 * Returns 0, or a negative errno with tracker->why: then it cannot be tracked in this round.
 */
int tracker_begin(struct tracker *tracker, const struct remote *remote);

/*
 * CRIU's reset: begin the next epoch, register new areas, protect what this round's images hold, and let go of areas
 * that they do not hold. Call it once, after the snapshot has answered all of CRIU's questions. Then the snapshot is
 * empty. Returns 0 with the record for pagescan.img, or a negative errno with tracker->why: then the round has no
 * record and the next one is a full one. -EBUSY: nothing was changed, as a device may be about to write pages that this
 * round has copied; if what earlier rounds protected is trusted, that alone stays protected instead, and the next round
 * takes anew what this one took.
 */
int tracker_reset(struct tracker *tracker, struct epoch_record *record, struct tracker_summary *summary);

/*
 * A page of the round's images turned out to be missing: [start, end), bytes, is dirty. Between reset and close.
 * Returns 0 or a negative errno: then it may look clean, and nothing must be built on these images.
 */
int tracker_mark_dirty(struct tracker *tracker, uint64_t start, uint64_t end);

/* Close and free what it has. What the keeper was given stays tracked. */
void tracker_close(struct tracker *tracker);

#endif
