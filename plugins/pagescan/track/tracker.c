// SPDX-License-Identifier: GPL-2.0-only
/*
 * tracker.c - a frozen task's round. Calls scan (snapshot, walk), uffd, registered, keeper, epoch, direct_io.
 *
 * Which areas are ours is the kernel's own knowledge: an area is a VMA that carries our userfaultfd's context. The
 * kernel drops the context when an area is moved, replaced or inherited, and a fresh page in such an area reads as
 * written, so there is no list of areas to keep and none to be wrong.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "direct_io.h"
#include "keeper.h"
#include "registered.h"
#include "tracker.h"

/* Dirty regions that lie no further apart are protected by one call; as in snapshot.c, walking is cheaper. */
#define SPAN_GAP_PAGES 64

/*
 * Registered, but with whom? Registering an area that is ours already changes nothing, and one that is another's is
 * refused with EBUSY (fs/userfaultfd.c, userfaultfd_register). Nothing but registered areas may be in the range.
 */
static void keep_ours(int uffd, struct area *areas, size_t nr)
{
	if (!uffd_register(uffd, areas[0].start, areas[nr - 1].end))
		return;
	for (size_t i = 0; i < nr; i++)
		areas[i].ours = nr > 1 && !uffd_register(uffd, areas[i].start, areas[i].end);
}

static bool find_our_areas(struct tracker *tracker)
{
	struct areas *areas = &tracker->snapshot.areas;
	bool any = false;

	registered_find(tracker->snapshot.pagemap_fd, areas);
	for (size_t i = 0, run; i < areas->nr; i += run) {
		run = areas_run(areas, i);
		for (size_t at = i, nr; at < i + run; at += nr) {
			bool registered = areas->v[at].ours;

			for (nr = 1; at + nr < i + run && areas->v[at + nr].ours == registered; nr++)
				;
			if (registered)
				keep_ours(tracker->uffd, &areas->v[at], nr);
		}
		for (size_t at = i; at < i + run; at++)
			any = any || areas->v[at].ours;
	}
	return any;
}

/*
 * The keeper's userfaultfd watches the memory that the task had when it was made. After an exec that went unnoticed
 * no area is ours, and it has to be made anew.
 */
static bool resume_tracking(struct tracker *tracker, struct reason *why_not)
{
	if (keeper_get(&tracker->id, &tracker->epoch, &tracker->uffd, why_not))
		return false;
	if (find_our_areas(tracker))
		return true;
	reason_set(why_not, 0, "none of the task's areas is registered any more (an exec?)");
	close(tracker->uffd);
	tracker->uffd = -1;
	return false;
}

int tracker_begin(struct tracker *tracker, const struct remote *remote)
{
	/* Now, before anything is copied: a read that ends after its page was copied is not seen to have been there. */
	(void)direct_io_under_way(tracker->id.pid, &tracker->snapshot.areas, &tracker->reads);
	if (tracker->uffd >= 0)
		return 0;
	tracker->epoch = (struct epoch){ 0 };
	if (getrandom(tracker->epoch.tracker, TRACKER_ID_SIZE, 0) != TRACKER_ID_SIZE)
		return reason_set(&tracker->why, -EIO, "no random bytes for the tracker's name");
	tracker->uffd = uffd_create(&tracker->id, remote, &tracker->why);
	return tracker->uffd < 0 ? tracker->uffd : 0;
}

static void decide_trust(struct tracker *tracker, const struct epoch_image *parent, const char *no_parent_why,
			 const char *lost)
{
	tracker->trusted = epoch_trusted(&tracker->epoch, &tracker->id, parent, no_parent_why, lost, &tracker->why);
	for (size_t i = 0; i < tracker->snapshot.areas.nr; i++) {
		struct area *area = &tracker->snapshot.areas.v[i];

		area->trusted = tracker->trusted && area->ours && area->trackable;
	}
}

int tracker_open(struct tracker *tracker, int proc_dir, const struct identity *id, const struct pagescan_kernel *kernel,
		 const struct epoch_image *parent, const char *no_parent_why)
{
	struct reason lost;
	bool resumed;
	int err;

	*tracker = (struct tracker){ .id = *id, .uffd = -1, .snapshot.pagemap_fd = -1 };
	err = snapshot_init(&tracker->snapshot, proc_dir, kernel);
	if (err)
		return reason_set(&tracker->why, err, "cannot read the task's areas: %s", strerror(-err));

	resumed = resume_tracking(tracker, &lost);
	decide_trust(tracker, parent, no_parent_why, resumed ? NULL : lost.text);
	return 0;
}

/*
 * Whatever was protected and is not dirty in the snapshot: somebody outside the frozen tree wrote to a page that was
 * clean (process_vm_writev, ptrace) after CRIU had asked. The images do not hold that write, so it must not be lost.
 * Both lists ascend. Returns 0 or a negative errno.
 */
static int give_back(int uffd, const struct pagescan_regions *done, const struct pagescan_region *dirty, size_t nr)
{
	int err = 0;

	for (size_t i = 0, at = 0; !err && i < done->nr; i++) {
		uint64_t start = done->v[i].start;

		while (!err && start < done->v[i].end) {
			uint64_t end = done->v[i].end;

			while (at < nr && (dirty[at].end <= start || !(dirty[at].categories & PAGESCAN_SOFT_DIRTY)))
				at++;
			if (at < nr && dirty[at].start <= start) {
				start = dirty[at].end;
				continue;
			}
			if (at < nr && dirty[at].start < end)
				end = dirty[at].start;
			err = uffd_unprotect(uffd, start, end);
			start = end;
		}
	}
	return err;
}

/*
 * Protect the pages of a span of neighbouring regions that the images hold and that are not protected yet: the masks
 * select the snapshot's dirty pages. What the kernel took away meanwhile (a page that was free to drop) is an empty
 * entry by now and must not be protected.
 */
static int protect_span(struct tracker *tracker, const struct area *area, const struct pagescan_region *span, size_t nr)
{
	const struct pagescan_query query = {
		.required = PAGESCAN_WRITTEN,
		.anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED,
		.excluded = PAGESCAN_PFNZERO | (area->file ? PAGESCAN_FILE : 0) |
			    (tracker->snapshot.guard ? PAGESCAN_GUARD : 0),
	};
	struct pagescan_regions done = { 0 };
	int err = pagescan_protect(tracker->snapshot.pagemap_fd, span[0].start, span[nr - 1].end, &query, &done);

	if (!err)
		err = give_back(tracker->uffd, &done, span, nr);
	pagescan_regions_fini(&done);
	return err;
}

/*
 * Dirty regions, in spans that hold no gap of more than SPAN_GAP_PAGES. While a device may be about to write them they stay
 * as they are, and are dirty in the next round, too: what is protected by now was protected when no read was under way,
 * and one that was submitted after that would have taken the protection off.
 */
static int protect_dirty(struct tracker *tracker, const struct area *area, struct tracker_summary *summary)
{
	const uint64_t gap = SPAN_GAP_PAGES * pagescan_page_size();
	const struct pagescan_region *region = area->regions.v;
	size_t first = 0, nr = 0; /* the span so far; nr is 0 before the first */
	int err = 0;

	for (size_t i = 0; !err && i < area->regions.nr; i++) {
		uint64_t pages = (region[i].end - region[i].start) / pagescan_page_size();

		if (!(region[i].categories & PAGESCAN_SOFT_DIRTY)) {
			summary->clean_pages += pages;
			continue;
		}
		summary->dirty_pages += pages;
		if (tracker->reads.text[0])
			continue;
		if (nr && region[i].start - region[first + nr - 1].end > gap) {
			err = protect_span(tracker, area, &region[first], nr);
			nr = 0;
		}
		if (!nr)
			first = i;
		nr = i + 1 - first;
	}
	return !err && nr ? protect_span(tracker, area, &region[first], nr) : err;
}

/*
 * One area at reset. What CRIU asked about and dumps in every mode goes on (or begins) to be tracked; any other area
 * of ours is let go, since this round's images may not hold it.
 */
static int reset_area(struct tracker *tracker, struct area *area, struct tracker_summary *summary)
{
	int err = 0;

	if (!area->trackable || !area->asked)
		return area->ours ? uffd_unregister(tracker->uffd, area->start, area->end) : 0;
	if (tracker->reads.text[0] && !area->ours)
		return 0;

	/* A full round holds all that it was told of, but not all that earlier rounds protected: begin anew. */
	if (area->ours && !area->trusted && !uffd_unregister(tracker->uffd, area->start, area->end))
		area->ours = false;
	if (!area->ours) {
		if (uffd_register(tracker->uffd, area->start, area->end)) {
			summary->refused++; /* another userfaultfd's, or a kind the kernel refuses: dirty every time */
			return 0;
		}
		area->ours = true;
		summary->registered++;
		err = area->stale ? uffd_unprotect(tracker->uffd, area->start, area->end) : 0;
	}
	summary->areas++;
	return err ? err : protect_dirty(tracker, area, summary);
}

int tracker_reset(struct tracker *tracker, struct epoch_record *record, struct tracker_summary *summary)
{
	struct areas *areas = &tracker->snapshot.areas;
	int err;

	*summary = (struct tracker_summary){ 0 };
	if (tracker->reads.text[0] && !tracker->trusted) {
		tracker->why = tracker->reads;
		snapshot_fini(&tracker->snapshot);
		return -EBUSY;
	}

	/*
	 * The epoch moves on first: from here to the end of the round the memory is neither what the last images
	 * began nor what the new ones will, and no directory on disk says so.
	 */
	tracker->epoch.number++;
	err = keeper_put(&tracker->id, &tracker->epoch, tracker->uffd, &tracker->why);

	for (size_t i = 0; !err && i < areas->nr; i++) {
		struct area *area = &areas->v[i];

		err = reset_area(tracker, area, summary);
		if (err)
			reason_set(&tracker->why, err, "cannot protect the area %llx-%llx: %s",
				   (unsigned long long)area->start, (unsigned long long)area->end, strerror(-err));
	}
	snapshot_fini(&tracker->snapshot);

	*record = (struct epoch_record){ tracker->id.pid, tracker->id.start_time, tracker->epoch };
	return err;
}

int tracker_mark_dirty(struct tracker *tracker, uint64_t start, uint64_t end)
{
	int err = tracker->uffd < 0 ? 0 : uffd_unprotect(tracker->uffd, start, end);

	/* Where the area, or all of the memory, is gone or not ours any more it is dirty anyway. */
	return err == -ENOENT || err == -ESRCH ? 0 : err;
}

void tracker_close(struct tracker *tracker)
{
	if (tracker->uffd >= 0)
		close(tracker->uffd);
	tracker->uffd = -1;
	snapshot_fini(&tracker->snapshot);
}
