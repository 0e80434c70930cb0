// SPDX-License-Identifier: GPL-2.0-only
/*
 * live.c - protect a running task's memory. Calls scan (areas, walk), registered, uffd, arm, keeper, epoch,
 * direct_io, memory, clock.
 *
 * What a later round calls clean is what is registered and protected then. So whatever happens meanwhile, nothing may
 * be registered and protected at the end of a round without its bytes, or an entry for the parent, being in the images:
 * - an area is registered only here, and all protection that it may have had is taken off before any of it is protected;
 * - one that is registered already is never registered again: it would turn a registration that it lost a moment ago,
 *   together with writes that nobody saw, into one that looks whole;
 * - a page is protected by the very call that tells us of it;
 * - at the end the memory that this round has passed over is looked through for protected pages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "descriptors.h"
#include "direct_io.h"
#include "keeper.h"
#include "live.h"
#include "memory.h"
#include "registered.h"

/*
 * Memory is walked by pieces of this size, so that nobody who wants to change the areas (mmap, munmap) waits long for
 * the kernel's lock, and so that a piece's regions stay few: some 200 KiB at worst.
 */
#define PIECE (64UL << 20)

static int is_userfaultfd(void *ctx, const char *fd, const char *link)
{
	(void)ctx;
	(void)fd;
	return !strcmp(link, "anon_inode:[userfaultfd]");
}

/* Returns 0, or -EBUSY with the reason why copying would not be safe. */
static int check_writers(struct tracker *tracker)
{
	const int pid = tracker->id.pid;
	int err;

	if (direct_io_possible(pid, &tracker->snapshot.areas, &tracker->why))
		return -EBUSY;
	err = descriptors_each(pid, is_userfaultfd, NULL);
	if (err > 0)
		return reason_set(&tracker->why, -EBUSY, "it has a userfaultfd of its own");
	if (err < 0)
		return reason_set(&tracker->why, -EBUSY, "cannot see whether it has a userfaultfd of its own: %s",
				  strerror(-err));
	return 0;
}

int live_open(struct live *live, int proc_dir, const struct identity *id, const struct pagescan_kernel *kernel,
	      const struct epoch_image *parent, const char *no_parent_why)
{
	struct tracker *tracker = &live->tracker;
	struct reason lost;
	int err;

	*live = (struct live){ .memory = -1 };
	*tracker = (struct tracker){ .id = *id, .uffd = -1, .snapshot.pagemap_fd = -1 };
	err = snapshot_init(&tracker->snapshot, proc_dir, kernel);
	if (err)
		return reason_set(&tracker->why, err, "cannot read the task's areas: %s", strerror(-err));
	live->memory = memory_open(proc_dir);
	if (live->memory < 0)
		return reason_set(&tracker->why, live->memory, "cannot open the task's memory: %s",
				  strerror(-live->memory));
	err = check_writers(tracker);
	if (err)
		return err;

	registered_find(tracker->snapshot.pagemap_fd, &tracker->snapshot.areas);
	err = keeper_get(&tracker->id, &tracker->epoch, &tracker->uffd, &lost);
	tracker->trusted = epoch_trusted(&tracker->epoch, &tracker->id, parent, no_parent_why, err ? lost.text : NULL,
					 &tracker->why);
	return 0;
}

/*
 * A userfaultfd watches the memory that its maker had. Where that is gone (an exec that the identity does not tell)
 * every call on it says so.
 */
static bool watches_this_memory(const struct tracker *tracker)
{
	const struct areas *areas = &tracker->snapshot.areas;
	bool registered = false;

	for (size_t i = 0; i < areas->nr; i++)
		registered = registered || areas->v[i].ours;
	return registered ||
	       uffd_unprotect(tracker->uffd, areas->v[0].start, areas->v[0].start + pagescan_page_size()) != -ESRCH;
}

int live_begin(struct live *live, struct helper *helper)
{
	struct tracker *tracker = &live->tracker;
	int err = 0;

	if (tracker->uffd >= 0 && !watches_this_memory(tracker)) {
		close(tracker->uffd);
		tracker->uffd = -1;
		tracker->trusted = false;
	}
	if (tracker->uffd < 0) {
		err = arm(helper, &tracker->id, &live->stopped, &tracker->why);
		if (!err)
			err = keeper_get(&tracker->id, &tracker->epoch, &tracker->uffd, &tracker->why);
	}
	if (err)
		return err;

	/* As in a stopped round: from here to the end the memory is of no epoch that a directory on disk records. */
	tracker->epoch.number++;
	return keeper_put(&tracker->id, &tracker->epoch, tracker->uffd, &tracker->why);
}

/*
 * Take the protection off [start, end). What is not registered (any more) is dirty anyway, but the kernel stops there:
 * the rest is gone through page by page.
 */
static int unprotect(const struct tracker *tracker, uint64_t start, uint64_t end)
{
	const uint64_t page = pagescan_page_size();
	uint64_t step = PIECE;
	int err = 0;

	while (start < end && (!err || err == -ENOENT)) {
		uint64_t stop = start + step < end ? start + step : end;

		err = uffd_unprotect(tracker->uffd, start, stop);
		if (err == -ENOENT && step > page)
			step = page;
		else
			start = stop;
	}
	return err == -ENOENT || err == -ESRCH ? 0 : err;
}

/*
 * Take the protection off what is protected in [start, end). It is asked for first: taking it off writes to every entry of
 * the page tables, which costs as much as protecting, and mostly nothing is protected.
 */
static int let_go(const struct tracker *tracker, uint64_t start, uint64_t end)
{
	const struct pagescan_query query = {
		.required = PAGESCAN_WPALLOWED,
		.anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED,
		.excluded = PAGESCAN_WRITTEN,
	};
	struct pagescan_regions found = { 0 };
	int err = start < end ? pagescan_walk(tracker->snapshot.pagemap_fd, start, end, &query, &found) : 0;

	for (size_t i = 0; !err && i < found.nr; i++)
		err = unprotect(tracker, found.v[i].start, found.v[i].end);
	pagescan_regions_fini(&found);
	return err;
}

/*
 * Make an area ours. One that cannot be registered is not asked for: it is another's, of a kind that the kernel refuses, or
 * gone; dirty each time.
 */
static void take_area(struct live *live, struct area *area)
{
	area->trusted = area->ours && live->tracker.trusted;
	if (!area->ours && uffd_register(live->tracker.uffd, area->start, area->end)) {
		live->refused++;
		return;
	}
	area->asked = true;
	live->registered += !area->ours;
}

/*
 * One piece of an area: what is there and not protected is from here on, and goes to the images. So does, in memory
 * that is not trusted, whatever else is there. Pages of zeros that nobody wrote are in no image and stay unprotected.
 */
static int protect_piece(struct tracker *tracker, const struct area *area, uint64_t start, uint64_t end,
			 struct pagescan_regions *regions)
{
	const struct pagescan_query query = {
		.required = PAGESCAN_WPALLOWED,
		.anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED,
		.excluded = (area->file ? PAGESCAN_FILE : 0) | (tracker->snapshot.guard ? PAGESCAN_GUARD : 0),
		.returned = PAGESCAN_WRITTEN | PAGESCAN_PFNZERO,
	};
	struct pagescan_regions found = { 0 };
	int err = pagescan_protect(tracker->snapshot.pagemap_fd, start, end, &query, &found);

	for (size_t i = 0; !err && i < found.nr; i++) {
		const struct pagescan_region *region = &found.v[i];
		bool written = !area->trusted || (region->categories & PAGESCAN_WRITTEN);

		if (written && (region->categories & PAGESCAN_PFNZERO))
			err = unprotect(tracker, region->start, region->end);
		else
			err = pagescan_regions_add(regions, region->start, region->end,
						   written ? LIVE_COPY : LIVE_PARENT);
	}
	pagescan_regions_fini(&found);
	return err;
}

/*
 * The next piece of the area that live->at lies in. No page of it is to look protected that the parent images are not
 * known to hold.
 */
static int go_on(struct live *live, struct area *area, struct pagescan_regions *regions)
{
	const uint64_t start = live->at;
	int err;

	live->at = (start | (PIECE - 1)) + 1;
	if (live->at > area->end)
		live->at = area->end;
	err = area->trusted ? 0 : let_go(&live->tracker, start, live->at);
	return err ? err : protect_piece(&live->tracker, area, start, live->at, regions);
}

int live_protect(struct live *live, size_t limit, const volatile sig_atomic_t *stop, struct pagescan_regions *regions)
{
	struct tracker *tracker = &live->tracker;
	struct areas *areas = &tracker->snapshot.areas;
	uint64_t since = clock_work();

	for (; live->area < areas->nr; live->area++) {
		struct area *area = &areas->v[live->area];
		int err = 0;

		if (!area->trackable)
			continue;
		if (!area->read) {
			area->read = true;
			live->at = area->start;
			take_area(live, area);
		}
		while (!err && area->asked && live->at < area->end) {
			if (regions->nr >= limit || (stop && *stop))
				return 1;
			err = go_on(live, area, regions);
			since = clock_share(since);
		}
		if (err)
			return reason_set(&tracker->why, err, "cannot protect the area %llx-%llx: %s",
					  (unsigned long long)area->start, (unsigned long long)area->end,
					  strerror(-err));
	}
	return 0;
}

/*
 * Such a writer holds the lock of the memory map from looking a page up until it has written to it (mm/memory.c,
 * __access_remote_vm), and this takes the lock alone, though there is nothing to unregister.
 */
void live_settle(struct live *live)
{
	const struct areas *areas = &live->tracker.snapshot.areas;

	for (size_t i = 0; i < areas->nr; i++) {
		const uint64_t start = areas->v[i].start;

		if (areas->v[i].trackable)
			continue;
		(void)uffd_unregister(live->tracker.uffd, start, start + pagescan_page_size());
		return;
	}
}

int live_dirty(struct live *live, uint64_t start, uint64_t end)
{
	return unprotect(&live->tracker, start, end);
}

int live_end(struct live *live, struct epoch_record *record)
{
	struct tracker *tracker = &live->tracker;
	const struct areas *areas = &tracker->snapshot.areas;
	uint64_t at = 0;
	int err = 0;

	for (size_t i = 0; !err && i < areas->nr; i++) {
		if (!areas->v[i].asked)
			continue;
		err = let_go(tracker, at, areas->v[i].start);
		at = areas->v[i].end;
	}
	if (!err)
		err = let_go(tracker, at, areas->v[areas->nr - 1].end);
	if (err)
		return reason_set(&tracker->why, err, "cannot look for what is protected and not in the images: %s",
				  strerror(-err));
	/* Opened since the round began. */
	err = check_writers(tracker);
	*record = (struct epoch_record){ tracker->id.pid, tracker->id.start_time, tracker->epoch };
	return err;
}

void live_close(struct live *live)
{
	if (live->memory >= 0)
		close(live->memory);
	live->memory = -1;
	tracker_close(&live->tracker);
}
