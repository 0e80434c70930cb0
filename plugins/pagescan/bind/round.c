// SPDX-License-Identifier: GPL-2.0-only
/*
 * round.c - the round that CRIU is in. Calls track, image, remote, verify, omit, parents, CRIU's log. CRIU works on one
 * task after the other in one thread, so there is one round and no lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "image/visit.h"
#include "log.h"
#include "omit.h"
#include "parents.h"
#include "remote.h"
#include "round.h"
#include "same_file.h"
#include "verify.h"

static struct {
	bool begun;
	int dir;	/* a negative errno: none */
	struct stat id; /* which directory that is */
	struct epoch_image parent;
	struct reason parent_why;
	struct epoch_image done;
	struct round_task *tasks;
} now = { .dir = -EBADF };

static void free_task(struct round_task *task)
{
	verify_end(task);
	tracker_close(&task->tracker);
	free(task);
}

static void round_end(void)
{
	while (now.tasks) {
		struct round_task *task = now.tasks;

		now.tasks = task->next;
		free_task(task);
	}
	omit_forget();
	parents_forget();
	epoch_image_fini(&now.parent);
	epoch_image_fini(&now.done);
	if (now.dir >= 0)
		close(now.dir);
	now.dir = -EBADF;
	now.begun = false;
}

static void read_parent(void)
{
	now.parent_why.text[0] = '\0';
	if (now.dir < 0 || (faccessat(now.dir, CRIU_PARENT_LINK, F_OK, 0) && errno == ENOENT))
		return;
	if (epoch_image_read(now.dir, CRIU_PARENT_LINK "/" EPOCH_IMAGE, &now.parent, &now.parent_why) == -ENOENT)
		reason_set(&now.parent_why, 0,
			   "the parent images have no " EPOCH_IMAGE " (made without pagescan, or not completed)");
	else if (!now.parent.nr && !now.parent_why.text[0])
		reason_set(&now.parent_why, 0, "the parent images record no task");
	else if (!now.parent_why.text[0])
		(void)image_check_version(now.dir, CRIU_PARENT_LINK, &now.parent_why);
}

/* Why this task has no parent to trust, empty if it may have one or is to have none. */
static void why_no_parent(int image_pid, struct reason *why)
{
	*why = now.parent_why;
	if (!why->text[0] && now.parent.nr)
		(void)image_check_pages(now.dir, CRIU_PARENT_LINK, image_pid, why);
}

/*
 * A service process may serve several requests, each with a directory of its own. What an earlier round left in this
 * one is about to be overwritten, so its record goes first.
 */
static void round_begin(void)
{
	struct stat id = { 0 };
	int dir = criu.criu_get_image_dir();

	if (dir >= 0 && fstat(dir, &id))
		dir = -1;
	if (now.begun && is_same_file(&id, &now.id))
		return;

	round_end();
	now.begun = true;
	now.id = id;
	/* CRIU closes its own before the images are complete (cr_dump_finish). */
	now.dir = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	if (now.dir < 0)
		now.dir = -errno;
	if (now.dir >= 0)
		unlinkat(now.dir, EPOCH_IMAGE, 0);
	read_parent();
}

void round_prepare(void)
{
	round_begin();
	if (now.dir >= 0)
		parents_read(now.dir);
}

static void drop_task(int pid)
{
	for (struct round_task **at = &now.tasks; *at; at = &(*at)->next) {
		struct round_task *task = *at;

		if (task->tracker.id.pid != pid)
			continue;
		*at = task->next;
		free_task(task);
		return;
	}
}

struct round_task *round_task_seized(int proc_dir, const struct identity *id, const struct pagescan_kernel *kernel)
{
	int tracer = identity_status(proc_dir, "TracerPid"); /* 0: nobody */
	struct round_task *task = NULL;
	struct remote_task remote;
	struct tracker *tracker;
	struct reason no_parent;

	if (tracer >= 0 && tracer != getpid())
		return NULL;
	round_begin();
	drop_task(id->pid);
	if (tracer >= 0)
		task = calloc(1, sizeof(*task));
	if (!task) {
		pr_warn("%d: cannot be tracked, its memory is dumped in full: %s\n", id->pid,
			strerror(tracer < 0 ? -tracer : ENOMEM));
		return NULL;
	}

	tracker = &task->tracker;
	remote_init(&remote, id->pid);
	/* The pid that the task itself sees, the last one: CRIU knows no pid namespace inside another one. */
	task->image_pid = identity_status(proc_dir, "NSpid");
	why_no_parent(task->image_pid, &no_parent);
	task->visible = !tracker_open(tracker, proc_dir, id, kernel, &now.parent, no_parent.text);
	if (task->visible)
		(void)tracker_begin(tracker, &remote.remote);
	remote_fini(&remote);
	task->audit.mem_fd = -1;
	task->next = now.tasks;
	now.tasks = task;
	verify_begin(task, proc_dir, now.dir);

	if (!task->visible || tracker->uffd < 0)
		pr_warn("%d: cannot be tracked, its memory is dumped in full: %s\n", id->pid, tracker->why.text);
	else if (!tracker->trusted && tracker->why.text[0])
		pr_warn("%d: its memory is dumped in full: %s\n", id->pid, tracker->why.text);
	return task;
}

struct round_task *round_find(int pid)
{
	struct round_task *task = now.tasks;

	while (task && task->tracker.id.pid != pid)
		task = task->next;
	return task;
}

void round_reset(struct round_task *task)
{
	struct tracker_summary summary;
	struct epoch_record record;
	int err;

	if (!task->visible || task->tracker.uffd < 0 || task->reset || getenv(LAST_VARIABLE))
		return;
	task->reset = true;
	err = tracker_reset(&task->tracker, &record, &summary);
	if (!err)
		err = epoch_image_add(&now.done, &record);
	if (err) {
		pr_warn("%d: the next round will be a full one: %s\n", task->tracker.id.pid,
			task->tracker.why.text[0] ? task->tracker.why.text : strerror(-err));
		return;
	}
	if (task->tracker.reads.text[0])
		pr_warn("%d: the next round takes again what this one takes: %s\n", task->tracker.id.pid,
			task->tracker.reads.text);
	pr_info("%d: epoch %llu, %llu areas (%llu new, %llu refused), %llu pages written, %llu clean\n",
		task->tracker.id.pid, (unsigned long long)record.epoch.number, (unsigned long long)summary.areas,
		(unsigned long long)summary.registered, (unsigned long long)summary.refused,
		(unsigned long long)summary.dirty_pages, (unsigned long long)summary.clean_pages);
}

void round_not_read(int pid, uint64_t start, uint64_t end)
{
	struct round_task *task = round_find(pid);
	int err = task ? tracker_mark_dirty(&task->tracker, start, end) : 0;

	if (task)
		task->lost = true;
	if (!err)
		return;
	pr_warn("%d: the next round will be a full one: a page that could not be read cannot be marked as written: "
		"%s\n",
		pid, strerror(-err));
	epoch_image_fini(&now.done); /* without a record nobody takes these images for the last ones */
}

void round_pagemap_opened(int fd, int pid)
{
	for (struct round_task *task = now.tasks; task; task = task->next) {
		if (task->image_pid == pid && task->visible && task->tracker.trusted)
			task->omits = !omit_begin(now.dir, fd, pid);
	}
}

size_t round_omit(const struct round_task *task, struct pagescan_region *vec, size_t nr)
{
	return task->omits ? omit_clean(task->image_pid, vec, nr) : nr;
}

int round_complete(void)
{
	return now.begun ? omit_complete(now.dir) : 0;
}

void round_commit(void)
{
	struct reason why;

	if (!now.begun)
		return;
	/* Nothing is left to be completed, unless this CRIU makes its images valid by something else, or too early. */
	if (round_complete())
		unlinkat(now.dir, CRIU_INVENTORY, 0);
	if (now.done.nr && now.dir < 0)
		pr_warn("the next round will be a full one: the image directory cannot be used: %s\n",
			strerror(-now.dir));
	else if (now.done.nr && epoch_image_write(now.dir, &now.done, &why))
		pr_warn("the next round will be a full one: %s\n", why.text);
	for (const struct round_task *task = now.tasks; task; task = task->next) {
		if (task->lost && !task->copied)
			pr_warn("%d: nothing of what was written could be read: it is left to the next round\n",
				task->tracker.id.pid);
	}
	round_end();
}
