// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin_way.c - find pages by this project's tracker, and begin its next round.
 *
 * Linked with the objects of scan and track; the keeper, a process of its own, is two functions here. Whole criu runs
 * pay for the real one.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "pages.h"
#include "track/keeper.h"

struct bench_round round_now;

static struct {
	int uffd;
	struct epoch epoch;
} keeper = { .uffd = -1 };

int keeper_get(const struct identity *id, struct epoch *epoch, int *uffd, struct reason *why)
{
	(void)id;
	(void)why;
	if (keeper.uffd < 0)
		return -ENOENT;
	*epoch = keeper.epoch;
	*uffd = fcntl(keeper.uffd, F_DUPFD_CLOEXEC, 0);
	return 0;
}

int keeper_put(const struct identity *id, const struct epoch *epoch, int uffd, struct reason *why)
{
	(void)id;
	(void)why;
	if (keeper.uffd < 0)
		keeper.uffd = fcntl(uffd, F_DUPFD_CLOEXEC, 0);
	keeper.epoch = *epoch;
	return 0;
}

void keeper_forget(void)
{
	if (keeper.uffd >= 0)
		close(keeper.uffd);
	keeper.uffd = -1;
}

static int child_syscall(void *ctx, long nr, const unsigned long args[6], long *result)
{
	*result = ask_child(ctx, SYSCALL, (uint64_t)nr, args[0]);
	return 0;
}

void pagescan_way(struct task *task, struct found *found)
{
	const struct remote remote = { child_syscall, task };
	struct tracker *tracker = &round_now.tracker;
	uint64_t start = now_ns();
	struct identity id;

	if (identity_read(task->proc_dir, &id))
		die("the child's stat");
	if (tracker_open(tracker, task->proc_dir, &id, &round_now.kernel, &round_now.parent, "") ||
	    tracker_begin(tracker, &remote) || tracker->uffd < 0 || tracker->trusted != !!round_now.parent.nr)
		die(tracker->why.text);
	round_now.open_ns = now_ns() - start;
	mask_way(task, &(struct answerer){ .snapshot = &tracker->snapshot }, found);
}

void pagescan_reset(void)
{
	struct tracker_summary summary;

	if (tracker_reset(&round_now.tracker, &round_now.record, &summary))
		die(round_now.tracker.why.text);
}

/* What a tracker would do that knows nothing but CRIU's mask. */
void protect_all(const struct task *task, int uffd)
{
	const struct pagescan_query query = { .anyof = POPULATED, .excluded = PAGESCAN_PFNZERO | PAGESCAN_FILE };

	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];

		if (!is_asked(area))
			continue;
		if ((!round_now.parent.nr && uffd_register(uffd, area->start, area->end)) ||
		    pagescan_protect(task->pagemap_fd, area->start, area->end, &query, NULL))
			die("write-protecting");
	}
}
