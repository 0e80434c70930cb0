// SPDX-License-Identifier: GPL-2.0-only
/*
 * fill.c - rounds of images into the pool, and the pool into agreement with the last images. Calls pool, huge, outline,
 * fold, image, the kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagescan.h>

#include "fold.h"
#include "huge.h"
#include "image/image.h"
#include "landing.h"
#include "outline.h"

/* Of the memory that the kernel calls available, what is left to others: a sixteenth. */
#define LEAVE 16

/*
 * One task's pages of one round on their way. @folds: a page that is there stays of the round that it is of. @small: huge
 * pages are not to be had.
 */
struct load {
	struct landing *landing;
	struct pool_task *task;
	struct landing_source source;
	struct outline outline;
	int pages;
	bool folds;
	bool small;
};

static const char *what_is_wrong(int err)
{
	return err == -EBADMSG	  ? "a pagemap that is not valid, or a file of pages that has not the length it tells" :
	       err == -EOPNOTSUPP ? "made by a CRIU with features that are not known here (compressed pages?)" :
				    strerror(-err);
}

/* MemAvailable of proc_meminfo(5), bytes; 0 if it is not told. */
static uint64_t available(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	while (file && !kib && fgets(line, sizeof(line), file))
		(void)sscanf(line, "MemAvailable: %lu kB", &kib);
	if (file)
		fclose(file);
	return (uint64_t)kib << 10;
}

static uint64_t present_bytes(const struct image_runs *runs)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < runs->nr; i++)
		bytes += runs->v[i].in_parent ? 0 : runs->v[i].end - runs->v[i].start;
	return bytes;
}

/* Can the task's pages at @at, @len bytes from there on being to come, be one huge page? */
static bool can_be_huge(const struct load *load, uint64_t at, size_t len)
{
	return !load->small && len >= HUGE_BYTES && !(at % HUGE_BYTES) &&
	       pool_next(load->task, at, at + HUGE_BYTES) == at + HUGE_BYTES;
}

/* As much as comes at once. Returns bytes or a negative errno. */
static ssize_t read_some(struct load *load, uint64_t start, void *at, size_t len, uint64_t offset)
{
	const size_t piece = HUGE_BYTES - start % HUGE_BYTES;
	ssize_t got;

	if (can_be_huge(load, start, len)) {
		const int err = huge_read(load->pages, at, offset);

		if (!err)
			return HUGE_BYTES;
		load->small = err == -EOPNOTSUPP;
	}
	/* The next piece may be a huge page. */
	got = pread(load->pages, at, !load->small && len > piece ? piece : len, (off_t)offset);
	return got < 0 ? -errno : got;
}

/* Read [start, end) of the task, which lies at @offset of the pages file and is mapped. */
static int read_pages(struct load *load, uint64_t start, uint64_t end, uint64_t offset)
{
	while (start < end) {
		size_t len = 0;
		void *at = pool_at(load->task, start, end, &len);
		ssize_t got = at ? read_some(load, start, at, len, offset) : -EFAULT;

		if (got <= 0)
			return got < 0 ? (int)got : -EBADMSG;
		start += (uint64_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static int note_pages(const struct load *load, uint64_t start, uint64_t end)
{
	int err = 0;

	for (uint64_t at = start, stop; !err && at < end; at = stop) {
		stop = load->folds ? pool_same_round(load->task, at, end) : end;
		if (!load->folds || !pool_round(load->task, at))
			err = pool_set_round(load->task, at, stop, load->source.round);
	}
	return err;
}

/* The part of a run that lies in an area. */
static int load_piece(struct load *load, const struct image_run *run, const struct pool_range *area)
{
	const uint64_t start = run->start > area->start ? run->start : area->start;
	const uint64_t end = run->end < area->end ? run->end : area->end;
	int err;

	if (run->in_parent || start >= end)
		return 0;
	err = pool_map(load->task, area->start, area->end, area->kind);
	if (!err)
		err = read_pages(load, start, end, run->offset + (start - run->start));
	return err ? err : note_pages(load, start, end);
}

static int load_runs(struct load *load)
{
	const struct image_runs *runs = &load->source.runs;
	int err = 0;

	for (size_t i = 0; !err && i < load->outline.nr; i++) {
		const struct pool_range *area = &load->outline.v[i];

		for (size_t at = image_runs_find(runs, area->start);
		     !err && at < runs->nr && runs->v[at].start < area->end; at++)
			err = load_piece(load, &runs->v[at], area);
	}
	return err;
}

static int open_pages(struct load *load, int dir)
{
	struct stat st;
	char name[32];

	image_pages_name(name, load->source.runs.pages_id);
	load->pages = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (load->pages < 0 || fstat(load->pages, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size != load->source.runs.bytes)
		return -EBADMSG;
	load->source.dev = st.st_dev;
	load->source.ino = st.st_ino;
	return 0;
}

static int keep_source(struct landing *landing, const struct landing_source *source)
{
	struct landing_source *v = reallocarray(landing->sources, landing->nr_sources + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	landing->sources = v;
	v[landing->nr_sources++] = *source;
	return 0;
}

/* Drop the pages of [start, end), which may hold unmapped memory, that are of some round. */
static int drop(struct pool_task *task, uint64_t start, uint64_t end)
{
	int err = 0;

	for (uint64_t at = pool_next(task, start, end), stop; !err && at < end; at = pool_next(task, stop, end)) {
		stop = pool_next_without(task, at, end);
		err = pool_set_round(task, at, stop, 0);
	}
	return err;
}

static int drop_all_but(struct pool_task *task, const struct image_runs *runs)
{
	uint64_t at = 0;
	int err = 0;

	for (size_t i = 0; !err && i < runs->nr; i++) {
		err = drop(task, at, runs->v[i].start);
		at = runs->v[i].end;
	}
	return err || !task->nr_ranges ? err : drop(task, at, task->ranges[task->nr_ranges - 1].end);
}

/* Drop what is there of pages that the round has, but that lie in no area of the outline: it is not loaded. */
static int drop_outside(const struct load *load)
{
	const struct image_runs *runs = &load->source.runs;
	const struct outline *outline = &load->outline;
	int err = 0;

	for (size_t i = 0, area = 0; !err && i < runs->nr; i++) {
		uint64_t at = runs->v[i].start;
		const uint64_t end = runs->v[i].in_parent ? at : runs->v[i].end;

		while (area < outline->nr && outline->v[area].end <= at)
			area++;
		for (size_t j = area; !err && j < outline->nr && outline->v[j].start < end; j++) {
			if (at < outline->v[j].start)
				err = drop(load->task, at, outline->v[j].start);
			at = outline->v[j].end;
		}
		if (!err && at < end)
			err = drop(load->task, at, end);
	}
	return err;
}

/* Into the pool; what is there and not in this round, or newer and not loaded, is not the task's any more. */
static int load_round(struct load *load, int dir)
{
	int err = load->task ? drop_all_but(load->task, &load->source.runs) : -ENOMEM;

	if (!err)
		err = drop_outside(load);
	if (!err)
		err = load_runs(load);
	return err ? err : fold_round(load->landing, load->task, dir, load->pages, &load->source);
}

static int load_task(struct landing *landing, int dir, int pid, struct reason *why)
{
	struct load load = {
		.landing = landing,
		.source = { .pid = pid, .round = landing->rounds },
		.pages = -1,
		.folds = true,
	};
	const uint64_t room = available();
	uint64_t bytes;
	int err = outline_load(dir, pid, &load.outline);

	/* Not told where its pages could be laid: they are left to CRIU. */
	if (err == -ENOENT)
		return 0;
	if (!err)
		err = image_read_runs(dir, pid, &load.source.runs);
	if (!err)
		err = open_pages(&load, dir);
	if (err)
		reason_set(why, err, "cannot read the images of %d: %s", pid, what_is_wrong(err));
	bytes = present_bytes(&load.source.runs);
	if (!err && room && bytes > room - room / LEAVE)
		err = reason_set(why, -ENOMEM, "%d has %lu MiB to be held ready, and %lu MiB of memory are available",
				 pid, bytes >> 20, room >> 20);
	load.task = err ? NULL : pool_task(&landing->pool, pid, true);
	if (!err) {
		err = load_round(&load, dir);
		if (!err)
			err = keep_source(landing, &load.source);
		if (err)
			reason_set(why, err, "cannot hold the pages of %d ready: %s", pid, strerror(-err));
	}
	if (err)
		image_runs_fini(&load.source.runs);
	if (load.pages >= 0)
		close(load.pages);
	outline_fini(&load.outline);
	return err;
}

static int load_directory(struct landing *landing, const char *path, struct reason *why)
{
	const struct dirent *entry;
	DIR *list = opendir(path);
	int err = 0;

	if (!list)
		return reason_set(why, -errno, "cannot open %s: %s", path, strerror(errno));
	while (!err && (entry = readdir(list))) {
		const int pid = image_pagemap_pid(entry->d_name);

		if (pid)
			err = load_task(landing, dirfd(list), pid, why);
	}
	closedir(list);
	huge_fini();
	return err;
}

const struct landing_source *landing_source(const struct landing *landing, int pid, unsigned int round)
{
	for (size_t i = 0; i < landing->nr_sources; i++) {
		if (landing->sources[i].pid == pid && landing->sources[i].round == round)
			return &landing->sources[i];
	}
	return NULL;
}

/* The tasks that have not been in this round: if there is one with such a pid later, it has no parent. */
static void drop_ended(struct landing *landing)
{
	for (size_t i = 0; i < landing->pool.nr; i++) {
		if (!landing_source(landing, landing->pool.tasks[i].pid, landing->rounds))
			pool_drop(&landing->pool.tasks[i]);
	}
}

int landing_load(struct landing *landing, const char *path, uint64_t *bytes, struct reason *why)
{
	int err = 0;

	if (landing->rounds == POOL_ROUNDS)
		err = reason_set(why, -ERANGE, "more than %d rounds", POOL_ROUNDS);
	if (!err && !(landing->paths[++landing->rounds] = strdup(path)))
		err = reason_set(why, -ENOMEM, "out of memory");
	if (!err)
		err = load_directory(landing, path, why);
	if (!err)
		drop_ended(landing);
	if (err)
		landing_fini(landing);
	*bytes = 0;
	for (size_t i = 0; i < landing->pool.nr; i++)
		*bytes += pool_bytes(&landing->pool.tasks[i]);
	return err;
}

/* CRIU's own rule for what it maps in advance (criu/include/vma.h, vma_entry_is_private). */
static bool is_private(const struct image_area *area)
{
	if (area->status & (IMAGE_AREA_SHSTK | IMAGE_AREA_AIORING))
		return true;
	return area->status & IMAGE_AREA_REGULAR && area->status & (IMAGE_AREA_FILE_PRIVATE | IMAGE_AREA_ANON_PRIVATE);
}

/*
 * Make the pool's mapping of an area what CRIU's will be. Where it is of another kind the pages are lost, where the area
 * is new or has grown there are none yet; both is right. One that is CRIU's own would not become one with a neighbour
 * that is ours, as both do in a plain restore: so all that have pages are ours.
 */
static int fit(struct pool_task *task, struct landing_area *area, const struct image_runs *runs)
{
	const unsigned int kind = landing_kind(&area->image);
	const size_t run = image_runs_find(runs, area->image.start);

	area->plain = area->image.status & IMAGE_AREA_ANON_PRIVATE && area->image.status & IMAGE_AREA_REGULAR &&
		      (area->image.flags & ~(uint32_t)MAP_NORESERVE) == (MAP_PRIVATE | MAP_ANONYMOUS) &&
		      run < runs->nr && runs->v[run].start < area->image.end;
	return area->plain ? pool_map(task, area->image.start, area->image.end, kind) : 0;
}

/* The areas in the order in which CRIU maps them, one behind the other (criu/mem.c, premap_priv_vmas). */
static int list_areas(struct landing_task *task, struct pool_task *pool, const struct image_areas *areas,
		      const struct image_runs *runs)
{
	uint64_t offset = 0;
	int err = 0;

	task->areas = calloc(areas->nr + 1, sizeof(*task->areas));
	if (!task->areas)
		return -ENOMEM;
	for (size_t i = 0; !err && i < areas->nr; i++) {
		const struct image_area *image = &areas->v[i];
		uint64_t size = image->end - image->start;

		if (!is_private(image))
			continue;
		size += image->status & IMAGE_AREA_SHSTK ? pagescan_page_size() : 0;
		task->size += size;
		if (image->flags & MAP_HUGETLB || image->status & IMAGE_AREA_EXT_PLUGIN)
			continue;
		task->areas[task->nr] = (struct landing_area){ .image = *image, .offset = offset, .size = size };
		err = fit(pool, &task->areas[task->nr++], runs);
		offset += size;
	}
	return err;
}

/* The last images' own pages, before tasks are forked: a page that is shared already would have to be copied first. */
static int load_last(struct landing *landing, const struct landing_task *task, struct pool_task *pool, int dir,
		     const struct image_runs *runs)
{
	struct load load = {
		.landing = landing,
		.task = pool,
		.source = { .pid = task->pid, .round = landing->rounds, .runs = *runs },
		.pages = -1,
	};
	int err = open_pages(&load, dir);

	load.outline.v = calloc(task->nr + 1, sizeof(*load.outline.v));
	if (!err && !load.outline.v)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < task->nr; i++) {
		const struct image_area *image = &task->areas[i].image;

		if (task->areas[i].plain)
			load.outline.v[load.outline.nr++] =
				(struct pool_range){ image->start, image->end, landing_kind(image) };
	}
	if (!err)
		err = load_runs(&load);
	if (load.pages >= 0)
		close(load.pages);
	outline_fini(&load.outline);
	return err ? err : keep_source(landing, &load.source);
}

static int settle_task(struct landing *landing, struct pool_task *pool, int dir)
{
	struct landing_task *task = &landing->tasks[landing->nr_tasks];
	struct image_runs runs = { 0 };
	struct image_areas areas = { 0 };
	int err = image_read_runs(dir, pool->pid, &runs);

	if (!err)
		err = image_read_areas(dir, pool->pid, &areas);
	if (!err)
		err = drop_all_but(pool, &runs);
	if (!err) {
		*task = (struct landing_task){ .pid = pool->pid, .here = true };
		landing->nr_tasks++;
		err = list_areas(task, pool, &areas, &runs);
		if (!err)
			err = load_last(landing, task, pool, dir, &runs);
	}
	image_areas_fini(&areas);
	if (!err)
		return 0; /* the runs are the source's now */
	image_runs_fini(&runs);
	if (err != -ENOENT)
		return err;
	/* It has ended meanwhile. */
	pool_drop(pool);
	return 0;
}

/* The areas of other tasks that are where one of @pid's is, which has not been advised to have huge pages. */
static void leave_advised(struct landing *landing, int pid, const struct image_area *image)
{
	for (size_t i = 0; i < landing->nr_tasks; i++) {
		struct landing_task *task = &landing->tasks[i];

		for (size_t j = 0; task->pid != pid && j < task->nr; j++) {
			struct landing_area *area = &task->areas[j];

			if (area->image.start == image->start && area->image.end == image->end &&
			    landing_kind(&area->image) & POOL_HUGEPAGE)
				area->plain = false;
		}
	}
}

static bool has_advised(const struct landing *landing)
{
	for (size_t i = 0; i < landing->nr_tasks; i++) {
		for (size_t j = 0; j < landing->tasks[i].nr; j++) {
			if (landing->tasks[i].areas[j].plain &&
			    landing_kind(&landing->tasks[i].areas[j].image) & POOL_HUGEPAGE)
				return true;
		}
	}
	return false;
}

/*
 * A child gets the parent's area where the two are at the same place (criu/mem.c, prepare_cow_vmas_for), and what was
 * advised for that before cannot be taken back for the child. CRIU advises last: such areas are left to it.
 */
static int heed_children(struct landing *landing, int dir)
{
	int err = 0;

	for (size_t i = 0; !err && has_advised(landing) && i < landing->tree.nr; i++) {
		const int pid = landing->tree.v[i].pid;
		struct image_areas areas = { 0 };

		err = image_read_areas(dir, pid, &areas);
		for (size_t j = 0; !err && j < areas.nr; j++) {
			if (is_private(&areas.v[j]) && !(landing_kind(&areas.v[j]) & POOL_HUGEPAGE))
				leave_advised(landing, pid, &areas.v[j]);
		}
		image_areas_fini(&areas);
		/* One that has ended and waits for its parent has no memory. */
		err = err == -ENOENT ? 0 : err;
	}
	return err;
}

static int make_mark(struct landing *landing)
{
	const size_t page = pagescan_page_size();
	void *mark = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mark == MAP_FAILED)
		return -errno;
	landing->mark = mark;
	*landing->mark = 1;
	return madvise(mark, page, MADV_WIPEONFORK) < 0 ? -errno : 0;
}

int landing_settle(struct landing *landing, const char *path, struct reason *why)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = dir < 0 ? -errno : image_read_tree(dir, &landing->tree);

	if (++landing->rounds > POOL_ROUNDS && !err)
		err = -ERANGE;
	landing->tasks = calloc(landing->pool.nr + 1, sizeof(*landing->tasks));
	if (!err)
		err = landing->tasks ? make_mark(landing) : -ENOMEM;
	for (size_t i = 0; !err && i < landing->pool.nr; i++)
		err = settle_task(landing, &landing->pool.tasks[i], dir);
	if (!err)
		err = heed_children(landing, dir);
	if (dir >= 0)
		close(dir);
	if (!err)
		return 0;
	landing_fini(landing);
	return reason_set(why, err, "the last images in %s cannot be read: %s", path, what_is_wrong(err));
}

void landing_fini(struct landing *landing)
{
	const bool verify = landing->verify;

	pool_fini(&landing->pool);
	for (size_t i = 0; i < landing->nr_sources; i++)
		image_runs_fini(&landing->sources[i].runs);
	for (size_t i = 0; i < landing->nr_tasks; i++)
		free(landing->tasks[i].areas);
	for (size_t i = 0; i <= POOL_ROUNDS; i++)
		free(landing->paths[i]);
	free(landing->sources);
	free(landing->tasks);
	image_tree_fini(&landing->tree);
	if (landing->mark)
		munmap(landing->mark, pagescan_page_size());
	*landing = (struct landing){ .verify = verify };
}
