/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * live.h - one running task through one round that does not stop it. The order of the calls:
 *
 *   live_open      its areas, its tracker, and whether the parent's pages are to be believed
 *   live_begin     make it tracked if it is not (that stops a thread of it, once in its life), and the next epoch
 *   live_protect   again and again: protect a part of the memory and tell what is in it
 *   live_settle    after protecting and before copying: whoever was in the middle of a write by the kernel has ended it
 *   live_dirty     for pages that could not be copied
 *   live_end       when all is copied: the record for pagescan.img
 *   live_close
 *
 * Nobody waits for us, so everything changes under our hands: areas come, go and move. What is decided here holds all
 * the same, for reasons that docs/design.md tells. All of it is for one thread.
 */
#ifndef PAGESCAN_TRACK_LIVE_H
#define PAGESCAN_TRACK_LIVE_H

#include <signal.h>

#include "arm.h"
#include "tracker.h"

/* What live_protect() tells of a run of pages: it has to be copied; it is in the parent images. */
#define LIVE_COPY   1
#define LIVE_PARENT 0

/*
 * @tracker is a task's state as in a stopped round, whose snapshot holds areas only. @area and @at: how far
 * live_protect() has come. @memory: a descriptor of the task's (memory.h). @refused: areas that cannot be registered.
 * @registered: areas registered in this round. @stopped: how long one of its threads was stopped, in nanoseconds.
 */
struct live {
	struct tracker tracker;
	int memory;
	size_t area;
	uint64_t at;
	uint64_t refused;
	uint64_t registered;
	uint64_t stopped;
};

/*
 * Begin a round for the running task behind @proc_dir (an open /proc/PID; stays the caller's) with the identity @id,
 * read from there. The rest is as for tracker_open(). Returns 0 or a negative errno with live->tracker.why: -EBUSY for
 * a task that may have no live round, as something could write past its page tables after a page was copied
 * (direct_io.h) or as it has a userfaultfd of its own. live_close() may be called either way.
 */
int live_open(struct live *live, int proc_dir, const struct identity *id, const struct pagescan_kernel *kernel,
	      const struct epoch_image *parent, const char *no_parent_why);

/*
 * See above. @helper, the caller's for as many tasks as it likes, stops the thread. Returns 0 or a negative errno with
 * live->tracker.why; then the task has no live round this time.
 */
int live_begin(struct live *live, struct helper *helper);

/*
 * Protect memory from where the last call ended until at least @limit regions were appended to @regions, whose
 * categories are LIVE_COPY or LIVE_PARENT, in ascending order, until *@stop becomes true (where @stop is not NULL), or until
 * all is done: returns 1 if there is more to come, 0 at the end, or a negative errno with live->tracker.why: then the round
 * has no record and what was protected counts as written in the next one.
 */
int live_protect(struct live *live, size_t limit, const volatile sig_atomic_t *stop, struct pagescan_regions *regions);

/*
 * Writes into the task's memory by ptrace(2) and /proc/PID/mem that looked their page up before it was protected have
 * happened when this returns. It waits for nobody else.
 */
void live_settle(struct live *live);

/*
 * [start, end), bytes, was protected and could not be copied. Returns 0 or a negative errno: then it may look clean, and
 * the task must have no record.
 */
int live_dirty(struct live *live, uint64_t start, uint64_t end);

/*
 * Everything that was told to be copied is. Takes the protection off what is protected and was not told in this round.
 * Returns 0 with the record for pagescan.img, or a negative errno with live->tracker.why: then it has no record.
 */
int live_end(struct live *live, struct epoch_record *record);

void live_close(struct live *live);

#endif
