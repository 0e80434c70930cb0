// SPDX-License-Identifier: GPL-2.0-only
/*
 * sample.c - protect all memory, and count what was written since it was protected last. Calls tree, live, written, keeper,
 * release.
 *
 * A sample is a live round whose images are nowhere: the record that would go into them is the next one's parent.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sample.h"
#include "track/keeper.h"
#include "track/live.h"
#include "track/release.h"
#include "tree.h"

/* So much is protected between two looks at what came of it. */
#define REGIONS (64UL << 10)

/* 1, 0 or a negative errno. */
static int is_tracked(const struct tree_task *task)
{
	int dir = tree_open(task), uffd, err;
	struct identity id;
	struct epoch epoch;

	if (dir < 0)
		return dir;
	err = identity_read(dir, &id);
	close(dir);
	if (!err)
		err = keeper_get(&id, &epoch, &uffd, NULL);
	if (!err)
		close(uffd);
	return err ? err : 1;
}

int sample_disturbs(int pid)
{
	struct tree tree = { 0 };
	int tracked = tree_read(&tree, pid);

	tracked = tracked < 0 ? tracked : 0;
	for (size_t i = 0; !tracked && i < tree.nr; i++) {
		tracked = is_tracked(&tree.v[i]);
		/* It has ended; or no keeper knows it. */
		if (tracked == -ESRCH || tracked == -ENOENT)
			tracked = 0;
	}
	tree_fini(&tree);
	return tracked;
}

/* Both lists ascend, and no region reaches from one area into the next: those are told by calls of their own. */
static void count(struct written *written, struct live *live, const struct pagescan_regions *regions)
{
	const struct areas *areas = &live->tracker.snapshot.areas;
	struct written_area hot = { .pid = live->tracker.id.pid };

	for (size_t i = 0, r = 0; i < areas->nr && r < regions->nr; i++) {
		const struct area *area = &areas->v[i];

		hot.bytes = 0;
		for (; r < regions->nr && regions->v[r].start < area->end; r++) {
			const uint64_t bytes = regions->v[r].end - regions->v[r].start;

			if (regions->v[r].categories == LIVE_COPY)
				hot.bytes += bytes;
			else
				written->clean += bytes;
		}
		if (!hot.bytes)
			continue;
		hot.start = area->start;
		hot.end = area->end;
		written_name(areas, area, hot.name, sizeof(hot.name));
		written->written += hot.bytes;
		written_keep(written, &hot);
	}
}

static int take_task(struct sample *sample, const struct tree_task *task, const struct pagescan_kernel *kernel,
		     struct epoch_image *next, struct written *written, struct reason *why)
{
	struct pagescan_regions regions = { 0 };
	int dir = tree_open(task), more = 1, err;
	struct epoch_record record;
	struct identity id;
	struct live live;

	if (dir < 0)
		return dir;
	err = identity_read(dir, &id);
	if (err) {
		close(dir);
		return err;
	}
	err = live_open(&live, dir, &id, kernel, &sample->last, "");
	if (!err)
		err = live_begin(&live, &sample->helper);
	while (!err && more) {
		more = live_protect(&live, REGIONS, NULL, &regions);
		err = more < 0 ? more : 0;
		count(written, &live, &regions);
		pagescan_regions_fini(&regions);
	}
	if (!err)
		err = live_end(&live, &record);
	if (!err)
		err = epoch_image_add(next, &record);
	if (!err && live.stopped)
		err = epoch_image_add(&sample->armed, &record);
	if (err)
		*why = live.tracker.why;
	written->tasks += !err;
	live_close(&live);
	close(dir);
	return err;
}

int sample_take(struct sample *sample, int pid, struct written *written, struct reason *why)
{
	struct epoch_image next = { 0 };
	struct pagescan_kernel kernel;
	struct tree tree = { 0 };
	int err = tree_read(&tree, pid);

	*written = (struct written){ 0 };
	if (err < 0)
		return reason_set(why, err, "out of memory");
	pagescan_probe(&kernel);
	if (!kernel.scan || !kernel.wp_async)
		err = reason_set(why, -EOPNOTSUPP, "this kernel has no %s",
				 kernel.scan ? "asynchronous userfaultfd write-protection" : "PAGEMAP_SCAN");
	for (size_t i = 0; err >= 0 && i < tree.nr; i++) {
		err = take_task(sample, &tree.v[i], &kernel, &next, written, why);
		if (err == -ESRCH || err == -ENOENT)
			err = i ? 0 : reason_set(why, -ESRCH, "%d has ended, or is a kernel thread", pid);
		else if (i && err < 0)
			err = 0; /* the root alone has to be such that it can be sampled */
	}
	helper_end(&sample->helper);
	tree_fini(&tree);
	epoch_image_fini(&sample->last);
	sample->last = next;
	sample->begun = true;
	return err < 0 ? err : 0;
}

void sample_end(struct sample *sample)
{
	int dropped;

	for (size_t i = 0; i < sample->armed.nr; i++)
		(void)release(sample->armed.v[i].pid, &dropped, NULL);
	epoch_image_fini(&sample->armed);
	epoch_image_fini(&sample->last);
}
