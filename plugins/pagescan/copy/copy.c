// SPDX-License-Identifier: GPL-2.0-only
/*
 * copy.c - workers that read a running task's pages and hand them to a sink. Calls live, memory, clock, the sink,
 * the kernel.
 *
 * Each worker takes the next part of the regions, reads it into a buffer of its own, waits for its turn to tell the
 * sink what it has, and stores the bytes. So reading and storing go on side by side, while the images keep their order,
 * and a page that could not be read just is not in them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "copy.h"
#include "track/clock.h"
#include "track/memory.h"

/* Runs of a part. */
#define RUNS ((size_t)1024)

_Static_assert(COPY_BUFFER / 4096 <= RUNS, "each page that is lost has room for a run");

/* What the workers share. @part: the next to be taken, @turn: the next to be told to the sink. */
struct job {
	struct live *live;
	const struct pagescan_regions *regions;
	struct copy_plan *plan;
	pthread_mutex_t lock;
	pthread_cond_t turned;
	size_t region;
	uint64_t at;
	uint64_t part;
	uint64_t turn;
	struct copy_counts *counts;
	struct reason *why;
	int err;
};

/* A worker's part: the buffer, what is asked for, what came of it (each page that is lost may make two runs of one). */
struct part {
	unsigned char buffer[COPY_BUFFER];
	uint64_t number;
	size_t nr;
	struct pagescan_region asked[RUNS];
	struct pagescan_region runs[2 * RUNS];
	struct chunk chunk;
};

/* When may so many bytes go? With the lock held, as the parts queue up here. */
static uint64_t reserve(struct copy_plan *plan, uint64_t bytes)
{
	uint64_t due = clock_ns();

	if (!plan->rate)
		return 0;
	if (plan->due > due)
		due = plan->due;
	plan->due = due + (uint64_t)((double)bytes * 1e9 / (double)plan->rate);
	return due;
}

static void sleep_until(uint64_t due)
{
	const struct timespec time = { (time_t)(due / 1000000000), (long)(due % 1000000000) };

	if (due)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

/* The next part. Returns whether there is one; *due is when it may be read. */
static bool take_part(struct job *job, struct part *part, uint64_t *due)
{
	const struct pagescan_regions *regions = job->regions;
	size_t bytes = 0;

	pthread_mutex_lock(&job->lock);
	part->nr = 0;
	while (!job->err && !*job->plan->stop && job->region < regions->nr && part->nr < RUNS && bytes < COPY_BUFFER) {
		struct pagescan_region run = regions->v[job->region];

		if (job->at > run.start)
			run.start = job->at;
		if (run.categories == LIVE_COPY && run.end - run.start > COPY_BUFFER - bytes)
			run.end = run.start + (COPY_BUFFER - bytes);
		if (run.categories == LIVE_COPY)
			bytes += run.end - run.start;
		job->at = run.end;
		if (run.end == regions->v[job->region].end)
			job->region++;
		part->asked[part->nr++] = run;
	}
	part->number = job->part;
	job->part += !!part->nr;
	*due = reserve(job->plan, bytes);
	pthread_mutex_unlock(&job->lock);
	return part->nr;
}

/*
 * Read the runs to copy from @first on, of which those before @at are done. Returns how many bytes came, less than was
 * asked for where a page cannot be read, or a negative errno: -ESRCH if the task has ended.
 */
static ssize_t read_runs(int memory, const struct part *part, size_t first, uint64_t at, unsigned char *buffer)
{
	struct iovec from[RUNS];
	size_t nr = 0;
	ssize_t got;

	for (size_t i = first; i < part->nr; i++) {
		const struct pagescan_region *run = &part->asked[i];
		uint64_t start = i == first ? at : run->start;

		if (run->categories != LIVE_COPY || start == run->end)
			continue;
		from[nr++] = (struct iovec){ (void *)(uintptr_t)start, run->end - start };
	}
	got = memory_read(memory, buffer, from, nr);
	if (got < 0)
		return got == -EFAULT ? 0 : got;
	return got / (ssize_t)pagescan_page_size() * (ssize_t)pagescan_page_size();
}

static void add_run(struct chunk *chunk, uint64_t start, uint64_t end, uint64_t categories)
{
	if (chunk->nr && chunk->runs[chunk->nr - 1].end == start && chunk->runs[chunk->nr - 1].categories == categories)
		chunk->runs[chunk->nr - 1].end = end;
	else if (start < end)
		chunk->runs[chunk->nr++] = (struct pagescan_region){ start, end, categories };
}

/*
 * Fill the buffer. A page that cannot be read is unmapped by now, or made unreadable: it is dirty again, and the rest
 * is read without it.
 */
static int read_part(struct job *job, struct part *part, uint64_t *lost)
{
	const uint64_t page = pagescan_page_size();
	struct chunk *chunk = &part->chunk;
	ssize_t ready = 0; /* bytes that were read and not yet given to a run */
	int err = 0;

	chunk->nr = chunk->bytes = chunk->spared = 0;
	*lost = 0;
	for (size_t i = 0; !err && i < part->nr; i++) {
		const struct pagescan_region *run = &part->asked[i];
		uint64_t at = run->start;

		if (run->categories != LIVE_COPY) {
			add_run(chunk, run->start, run->end, run->categories);
			continue;
		}
		while (!err && at < run->end) {
			uint64_t size = run->end - at;

			if (!ready)
				ready = read_runs(job->live->memory, part, i, at, chunk->buffer + chunk->bytes);
			if (ready < 0)
				return (int)ready;
			if (size > (uint64_t)ready)
				size = (uint64_t)ready;
			if (size) {
				add_run(chunk, at, at + size, LIVE_COPY);
				chunk->bytes += size;
				ready -= (ssize_t)size;
			} else {
				size = page;
				(*lost)++;
				pthread_mutex_lock(&job->lock);
				err = live_dirty(job->live, at, at + size);
				pthread_mutex_unlock(&job->lock);
			}
			at += size;
		}
	}
	return err;
}

/* The first failure is told. */
static void fail(struct job *job, int err, const struct reason *why)
{
	pthread_mutex_lock(&job->lock);
	if (!job->err) {
		job->err = err;
		*job->why = *why;
	}
	pthread_cond_broadcast(&job->turned);
	pthread_mutex_unlock(&job->lock);
}

/* With the lock held. */
static void count(struct job *job, const struct part *part, uint64_t lost)
{
	for (size_t i = 0; i < part->chunk.nr; i++) {
		const struct pagescan_region *run = &part->chunk.runs[i];
		uint64_t pages = (run->end - run->start) / pagescan_page_size();

		if (run->categories == LIVE_COPY)
			job->counts->copied += pages;
		else
			job->counts->parent += pages;
	}
	job->counts->lost += lost;
	if (job->plan->progress)
		job->plan->progress(job->counts);
}

/* What was not sent after all leaves room for what comes. With the lock held. */
static void count_spared(struct job *job, uint64_t bytes)
{
	job->counts->spared += bytes / pagescan_page_size();
	if (job->plan->rate)
		job->plan->due -= (uint64_t)((double)bytes * 1e9 / (double)job->plan->rate);
}

static void do_part(struct job *job, struct part *part)
{
	struct reason why;
	uint64_t lost;
	bool over; /* another worker has failed */
	int err = read_part(job, part, &lost);

	if (err)
		reason_set(&why, err, "pages of %d can neither be read nor marked as written: %s",
			   job->live->tracker.id.pid, strerror(-err));
	pthread_mutex_lock(&job->lock);
	while (!job->err && job->turn != part->number)
		pthread_cond_wait(&job->turned, &job->lock);
	over = job->err;
	if (!err && !over)
		err = job->plan->sink->take(job->plan->sink, &part->chunk, &why);
	if (!err && !over)
		count(job, part, lost);
	job->turn++;
	pthread_cond_broadcast(&job->turned);
	pthread_mutex_unlock(&job->lock);

	if (!err && !over && part->chunk.bytes && job->plan->sink->store)
		err = job->plan->sink->store(job->plan->sink, &part->chunk, &why);
	if (!err && part->chunk.spared) {
		pthread_mutex_lock(&job->lock);
		count_spared(job, part->chunk.spared);
		pthread_mutex_unlock(&job->lock);
	}
	if (err)
		fail(job, err, &why);
}

/* The process is to go on as if nobody copied: where there are more threads than processors it comes first. */
#define NICE 10

/* Its room stays for the next regions: in many small tasks, getting new memory for each took as long as the copying. */
static struct part *part_of(struct part **room)
{
	if (!*room) {
		struct part *part =
			mmap(NULL, sizeof(*part), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		*room = part == MAP_FAILED ? NULL : part;
	}
	return *room;
}

struct worker {
	struct job *job;
	struct part **room;
	pthread_t thread;
};

static void *work(void *arg)
{
	const struct worker *worker = arg;
	struct part *part = part_of(worker->room);
	struct job *job = worker->job;
	uint64_t due;

	if (!part) {
		struct reason why;

		reason_set(&why, 0, "no memory for a buffer of %lu bytes", COPY_BUFFER);
		fail(job, -ENOMEM, &why);
		return NULL;
	}
	part->chunk.runs = part->runs;
	part->chunk.buffer = part->buffer;
	while (take_part(job, part, &due)) {
		sleep_until(due);
		do_part(job, part);
	}
	return NULL;
}

/* The calling thread alone is made nice (sched(7)): whoever stops a thread of the process stays quick. */
static void *work_nicely(void *worker)
{
	setpriority(PRIO_PROCESS, 0, NICE);
	return work(worker);
}

int copy_regions(struct live *live, const struct pagescan_regions *regions, struct copy_plan *plan,
		 struct copy_counts *counts, struct reason *why)
{
	struct job job = {
		.live = live,
		.regions = regions,
		.plan = plan,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.turned = PTHREAD_COND_INITIALIZER,
		.counts = counts,
		.why = why,
	};
	uint64_t parts = pagescan_regions_bytes(regions) / COPY_BUFFER + regions->nr / RUNS + 1;
	unsigned int jobs = plan->jobs, started = 0;
	struct worker workers[COPY_JOBS];

	if (jobs > parts)
		jobs = (unsigned int)parts;
	for (size_t i = 0; i < COPY_JOBS; i++)
		workers[i] = (struct worker){ .job = &job, .room = &plan->rooms[i] };
	while (started < jobs && started < COPY_JOBS &&
	       !pthread_create(&workers[started].thread, NULL, work_nicely, &workers[started]))
		started++;
	if (!started)
		work(workers); /* whatever could not be started, one worker is enough */
	while (started)
		pthread_join(workers[--started].thread, NULL);
	if (!job.err && *plan->stop)
		return reason_set(why, -EINTR, "interrupted");
	return job.err;
}

void copy_end(struct copy_plan *plan)
{
	for (size_t i = 0; i < COPY_JOBS; i++) {
		if (plan->rooms[i])
			munmap(plan->rooms[i], sizeof(*plan->rooms[i]));
		plan->rooms[i] = NULL;
	}
}
