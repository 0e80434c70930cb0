// SPDX-License-Identifier: GPL-2.0-only
/*
 * live_round.c - protect, settle, copy, record. Calls tree, live, copy, the sink, image, epoch, clock.
 *
 * Tasks are protected one after the other, then what was protected is copied, so that the time in between, which the
 * kernel's own writers need, is spent once. How much is protected before it is copied is limited by the memory for the
 * regions and by descriptors.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "live_round.h"
#include "image/image.h"
#include "image/visit.h"
#include "track/clock.h"
#include "tree.h"

/* Of all tasks that are protected and not yet copied: 6 MiB, at most twice that while a list grows. */
#define REGIONS (256UL << 10)
#define TASKS	64

/*
 * A writer that pins pages, looks them up by the page tables and writes to them later: process_vm_writev(2), by no
 * more than 4 MiB at a time. The kernel tells nobody when it is done, so it is given time; see docs/tracking.md.
 */
#define GRACE_NS 10000000

/* A task on its way: protected, or a part of it, and not yet copied. */
struct pending {
	int vpid;
	bool more;  /* live_protect() has not come to its end */
	bool begun; /* the sink knows of it */
	struct live live;
	struct pagescan_regions regions;
};

struct round {
	struct live_request *request;
	struct live_result *result;
	struct reason *why;
	struct pagescan_kernel kernel;
	struct epoch_image parent;
	struct reason no_parent;
	struct epoch_image done;
	struct helper helper;
	struct pending pending[TASKS];
	size_t nr;
	size_t regions;
};

static void forget(struct pending *pending)
{
	live_close(&pending->live);
	pagescan_regions_fini(&pending->regions);
}

/* A task that is not in the images. That it has ended meanwhile is nothing to speak of, unless it is the root. */
static int leave_out(struct round *round, int pid, int err, const char *text)
{
	if (pid == round->request->pid && (err == -ESRCH || err == -ENOENT))
		return reason_set(round->why, -ESRCH, "%d has ended, or is a kernel thread", pid);
	if (err != -ESRCH && err != -ENOENT) {
		round->result->skipped++;
		round->request->tell(pid, text);
	}
	return 0;
}

/* The sink has something of this task. */
static int give_up(struct round *round, struct pending *pending, int err)
{
	pending->begun = pending->more = false;
	round->request->plan.sink->abandon(round->request->plan.sink);
	return leave_out(round, pending->live.tracker.id.pid, err, pending->live.tracker.why.text);
}

/* The task is copied as a whole: its record, or the reason why it gets none. */
static int complete(struct round *round, struct pending *pending)
{
	struct epoch_record record;
	int err = live_end(&pending->live, &record);

	if (err)
		return give_up(round, pending, err);
	pending->begun = false;
	err = round->request->plan.sink->end(round->request->plan.sink, round->why);
	if (!err)
		err = epoch_image_add(&round->done, &record);
	round->result->tasks++;
	return err;
}

static void settle(struct round *round)
{
	const struct timespec grace = { .tv_nsec = GRACE_NS };

	for (size_t i = 0; i < round->nr; i++)
		live_settle(&round->pending[i].live);
	nanosleep(&grace, NULL);
}

/* Copy all that is protected. A task of which only a part is stays, as the first one. */
static int flush(struct round *round)
{
	struct live_request *request = round->request;
	const uint64_t since = clock_ns();
	bool stays = false;
	int err = 0;

	settle(round);
	for (size_t i = 0; !err && i < round->nr; i++) {
		struct pending *pending = &round->pending[i];

		if (!pending->begun)
			err = request->plan.sink->begin(request->plan.sink, pending->vpid, round->why);
		pending->begun = true;
		if (!err)
			err = copy_regions(&pending->live, &pending->regions, &request->plan, &round->result->pages,
					   round->why);
		pagescan_regions_fini(&pending->regions);
		if (err == -ESRCH)
			err = give_up(round, pending, err);
		else if (!err && pending->more)
			stays = true;
		else if (!err)
			err = complete(round, pending);
		if (!stays)
			forget(pending);
	}
	if (err)
		return err;
	if (stays)
		round->pending[0] = round->pending[round->nr - 1];
	round->nr = stays;
	round->regions = 0;
	round->result->copying += clock_ns() - since - GRACE_NS;
	return 0;
}

static void count_todo(struct round *round, const struct pagescan_regions *regions)
{
	for (size_t i = 0; i < regions->nr; i++) {
		if (regions->v[i].categories == LIVE_COPY)
			round->result->pages.todo += (regions->v[i].end - regions->v[i].start) / pagescan_page_size();
	}
}

/* Protect the last pending task's memory, as much as there is room for, and copy in between. */
static int protect(struct round *round)
{
	int err, pid;

	do {
		struct pending *pending = &round->pending[round->nr - 1];

		pid = pending->live.tracker.id.pid;
		err = live_protect(&pending->live, REGIONS - round->regions, round->request->plan.stop,
				   &pending->regions);
		pending->more = err > 0;
		if (err < 0) {
			if (pending->begun)
				round->request->plan.sink->abandon(round->request->plan.sink);
			err = leave_out(round, pid, err, pending->live.tracker.why.text);
			forget(pending);
			round->nr--;
			return err;
		}
		round->regions += pending->regions.nr;
		count_todo(round, &pending->regions);
		if (pending->more || round->regions >= REGIONS || round->nr == TASKS) {
			bool more = pending->more;

			err = flush(round);
			if (err || !more)
				return err;
		}
	} while (round->nr && round->pending[round->nr - 1].more && !*round->request->plan.stop);
	return 0;
}

static void count_stop(struct live_result *result, uint64_t ns)
{
	result->armed += ns > 0;
	result->stopped += ns;
	if (ns > result->stopped_most)
		result->stopped_most = ns;
}

static int take_task(struct round *round, const struct tree_task *task)
{
	struct pending *pending = &round->pending[round->nr];
	struct live *live = &pending->live;
	struct reason no_parent = round->no_parent;
	struct identity id;
	int dir = tree_open(task), err;

	if (dir < 0)
		return leave_out(round, task->pid, dir, "cannot look at it");
	*pending = (struct pending){ .vpid = identity_status(dir, "NSpid") };
	err = identity_read(dir, &id);
	if (!no_parent.text[0] && round->parent.nr)
		(void)image_check_pages(round->request->dir, IMAGE_PARENT, pending->vpid, &no_parent);
	if (!err) {
		err = live_open(live, dir, &id, &round->kernel, &round->parent, no_parent.text);
		if (!err && !live->tracker.trusted && live->tracker.why.text[0])
			round->request->tell(task->pid, live->tracker.why.text);
		if (!err)
			err = live_begin(live, &round->helper);
		count_stop(round->result, live->stopped);
		if (err)
			live_close(live);
	}
	close(dir);
	if (err)
		return leave_out(round, task->pid, err, live->tracker.why.text);
	round->nr++;
	return protect(round);
}

/* All tasks, and those that have appeared meanwhile. What appears later is the next round's. */
static int take_tree(struct round *round)
{
	struct tree tree = { 0 };
	size_t at = 0;
	int err = 0;

	for (int look = 0; !err && look < 2; look++) {
		err = tree_read(&tree, round->request->pid);
		err = err < 0 ? reason_set(round->why, err, "out of memory") : 0;
		for (; !err && at < tree.nr; at++) {
			if (tree.v[at].pid == getpid())
				err = reason_set(round->why, -EINVAL, "this process itself is in the tree of %d",
						 round->request->pid);
			else if (*round->request->plan.stop)
				err = reason_set(round->why, -EINTR, "interrupted");
			else
				err = take_task(round, &tree.v[at]);
		}
		if (!err && round->nr)
			err = flush(round);
	}
	tree_fini(&tree);
	return err;
}

static int read_parent(struct round *round)
{
	const struct live_request *request = round->request;
	int err;

	if (!request->parent)
		return 0;
	if (symlinkat(request->parent, request->dir, IMAGE_PARENT) < 0)
		return reason_set(round->why, -errno, "cannot make the link to the parent images: %s", strerror(errno));
	if (faccessat(request->dir, IMAGE_PARENT "/" IMAGE_INVENTORY, R_OK, 0))
		return reason_set(round->why, -errno,
				  "the parent images cannot be used: %s, relative to the image directory, has no "
				  "readable " IMAGE_INVENTORY " (%s)",
				  request->parent, strerror(errno));
	err = epoch_image_read(request->dir, IMAGE_PARENT "/" EPOCH_IMAGE, &round->parent, &round->no_parent);
	if (err == -ENOENT)
		reason_set(&round->no_parent, 0,
			   "the parent images have no " EPOCH_IMAGE " (made without pagescan, or not completed)");
	else if (!err && !round->parent.nr)
		reason_set(&round->no_parent, 0, "the parent images record no task");
	else if (!err)
		(void)image_check_version(request->dir, IMAGE_PARENT, &round->no_parent);
	return 0;
}

static uint64_t uptime_us(void)
{
	struct timespec time;

	/* As /proc/uptime, which CRIU reads: with the time of suspension. */
	clock_gettime(CLOCK_BOOTTIME, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* The record makes the directory a parent, so it comes last. */
static int commit(struct round *round)
{
	const struct live_result *result = round->result;
	const int dir = round->request->dir;
	const struct image_stats stats = {
		.stopped = result->stopped / 1000,
		.written = result->ns / 1000,
		.pages_parent = result->pages.parent,
		.pages_written = result->pages.copied,
	};
	int err;

	if (!result->tasks)
		return reason_set(round->why, -EBUSY, "no task of the tree can be copied while it runs");
	if (result->pages.lost && !result->pages.copied)
		round->request->tell(round->request->pid,
				     "nothing of what was written could be read: it is left to the next "
				     "round");
	err = round->request->plan.sink->finish(round->request->plan.sink, round->why);
	if (err)
		return err;
	err = image_write_inventory(dir, uptime_us());
	if (!err)
		err = image_write_stats(dir, &stats);
	if (err)
		return reason_set(round->why, err, "cannot write the images: %s", strerror(-err));
	return epoch_image_write(dir, &round->done, round->why);
}

/* The directory was empty, so all that is in it now is from this round. Returns whether it is empty again. */
static bool empty(int dir)
{
	DIR *list = image_list(dir, ".");
	const struct dirent *entry;
	bool done = true;

	if (!list)
		return false;
	errno = 0;
	while ((entry = readdir(list))) {
		if (*entry->d_name != '.' && unlinkat(dir, entry->d_name, 0) < 0)
			done = false;
	}
	done = done && !errno;
	closedir(list);
	return done;
}

int live_round(struct live_request *request, struct live_result *result, struct reason *why)
{
	struct round *round = calloc(1, sizeof(*round));
	uint64_t since = clock_ns();
	int err;

	*result = (struct live_result){ 0 };
	if (!round)
		return reason_set(why, -ENOMEM, "out of memory");
	round->request = request;
	round->result = result;
	round->why = why;
	pagescan_probe(&round->kernel);
	if (!round->kernel.scan || !round->kernel.wp_async)
		err = reason_set(why, -EOPNOTSUPP, "this kernel has no %s",
				 round->kernel.scan ? "asynchronous userfaultfd write-protection" : "PAGEMAP_SCAN");
	else
		err = read_parent(round);
	if (!err)
		err = take_tree(round);
	copy_end(&request->plan);
	helper_end(&round->helper);
	result->ns = clock_ns() - since;
	if (!err)
		err = commit(round);
	for (size_t i = 0; i < round->nr; i++) {
		if (round->pending[i].begun)
			request->plan.sink->abandon(request->plan.sink);
		forget(&round->pending[i]);
	}
	if (err && !empty(request->dir))
		request->tell(request->pid, "cannot remove what this round has written: do so, it is of no use");
	epoch_image_fini(&round->parent);
	epoch_image_fini(&round->done);
	free(round);
	return err;
}
