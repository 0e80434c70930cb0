// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages on their way from a process (this one) to a sink of our own: all of them, right, in order, however many workers
 * there are; and what cannot be read is dirty and not delivered.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "copy/copy.h"
#include "processes.h"
#include "scan/uapi.h"

#define PAGES 4096

static char *memory;
static volatile sig_atomic_t stopped;

/* What came: by page, how often, and whether its first word was right. */
static struct {
	struct sink sink;
	int delivered[PAGES];
	int parent[PAGES];
	int dirty[PAGES];
	uint64_t last;
	off_t place;
	int wrong;
	int fail_at; /* how many chunks go well before one fails, -1 for all */
	bool mark_fails;
	bool spares; /* finds everything where it was to go */
} got;

static size_t page_of(uint64_t addr)
{
	return (addr - (uintptr_t)memory) / pagescan_page_size();
}

int live_dirty(struct live *live, uint64_t start, uint64_t end)
{
	(void)live;
	if (got.mark_fails)
		return -ENOMEM;
	for (; start < end; start += pagescan_page_size())
		got.dirty[page_of(start)]++;
	return 0;
}

static int take(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	(void)sink;
	for (size_t i = 0; i < chunk->nr; i++) {
		got.wrong += chunk->runs[i].start < got.last || chunk->runs[i].start >= chunk->runs[i].end;
		got.last = chunk->runs[i].end;
	}
	chunk->place = got.place;
	got.place += (off_t)chunk->bytes;
	return got.fail_at-- == 0 ? reason_set(why, -ENOSPC, "no room") : 0;
}

static int store(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	const unsigned char *bytes = chunk->buffer;

	(void)sink;
	(void)why;
	for (size_t i = 0; i < chunk->nr; i++) {
		for (uint64_t at = chunk->runs[i].start; at < chunk->runs[i].end; at += pagescan_page_size()) {
			uint64_t word;

			if (chunk->runs[i].categories == LIVE_PARENT) {
				got.parent[page_of(at)]++;
				continue;
			}
			memcpy(&word, bytes, sizeof(word));
			__atomic_fetch_add(&got.wrong, word != page_of(at) + 1, __ATOMIC_SEQ_CST);
			got.delivered[page_of(at)]++;
			bytes += pagescan_page_size();
		}
	}
	__atomic_fetch_add(&got.wrong, bytes != chunk->buffer + chunk->bytes, __ATOMIC_SEQ_CST);
	chunk->spared = got.spares ? chunk->bytes : 0;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(&got, 0, sizeof(got));
	got.sink = (struct sink){ .take = take, .store = store };
	got.fail_at = -1;
	stopped = 0;
	memory = mmap(NULL, PAGES * pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < PAGES; i++)
		*(uint64_t *)(memory + i * pagescan_page_size()) = i + 1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return munmap(memory, PAGES * pagescan_page_size());
}

static void add(struct pagescan_regions *regions, size_t first, size_t end, uint64_t categories)
{
	const uint64_t at = (uintptr_t)memory;

	assert_int_equal(pagescan_regions_add(regions, at + first * pagescan_page_size(),
					      at + end * pagescan_page_size(), categories),
			 0);
}

static int copy(const struct pagescan_regions *regions, struct copy_plan plan, struct copy_counts *counts)
{
	struct live live = { .tracker.id.pid = getpid(), .memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC) };
	struct reason why;
	int err;

	*counts = (struct copy_counts){ 0 };
	plan.sink = &got.sink;
	plan.stop = &stopped;
	err = copy_regions(&live, regions, &plan, counts, &why);
	copy_end(&plan);
	close(live.memory);
	return err;
}

/* Long runs and short ones, more than a call takes, and what the parent has in between. */
static void all_pages_come_in_order(void **state)
{
	(void)state;
	for (unsigned int jobs = 1; jobs <= 4; jobs++) {
		struct pagescan_regions regions = { 0 };
		struct copy_counts counts;

		set_up(NULL);
		add(&regions, 0, 1000, LIVE_COPY);
		add(&regions, 1000, 1001, LIVE_PARENT);
		for (size_t i = 1001; i < 4001; i += 2)
			add(&regions, i, i + 1, i % 3 ? LIVE_COPY : LIVE_PARENT);
		add(&regions, 4010, PAGES, LIVE_COPY);
		assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = jobs }, &counts), 0);
		assert_int_equal(got.wrong, 0);
		for (size_t r = 0; r < regions.nr; r++) {
			for (uint64_t at = regions.v[r].start; at < regions.v[r].end; at += pagescan_page_size()) {
				bool parent = regions.v[r].categories == LIVE_PARENT;

				assert_int_equal(got.delivered[page_of(at)], !parent);
				assert_int_equal(got.parent[page_of(at)], parent);
			}
		}
		assert_int_equal((counts.copied + counts.parent) * pagescan_page_size(),
				 pagescan_regions_bytes(&regions));
		assert_int_equal(counts.lost, 0);
		pagescan_regions_fini(&regions);
		tear_down(NULL);
	}
	set_up(NULL);
}

/* At a byte a second it would take months. */
static void what_was_spared_takes_no_bandwidth(void **state)
{
	struct pagescan_regions regions = { 0 };
	struct copy_counts counts;

	(void)state;
	got.spares = true;
	add(&regions, 0, PAGES, LIVE_COPY);
	alarm(60);
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 1, .rate = 1 }, &counts), 0);
	alarm(0);
	assert_int_equal(got.wrong, 0);
	assert_int_equal(counts.copied, PAGES);
	assert_int_equal(counts.spared, PAGES);
	pagescan_regions_fini(&regions);
}

static void what_cannot_be_read_is_dirty(void **state)
{
	struct pagescan_regions regions = { 0 };
	struct copy_counts counts;

	(void)state;
	add(&regions, 0, PAGES, LIVE_COPY);
	munmap(memory + 7 * pagescan_page_size(), pagescan_page_size());
	munmap(memory + 300 * pagescan_page_size(), 200 * pagescan_page_size());
	munmap(memory + (PAGES - 1) * pagescan_page_size(), pagescan_page_size());
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 2 }, &counts), 0);
	assert_int_equal(got.wrong, 0);
	assert_int_equal(counts.lost, 202);
	for (size_t i = 0; i < PAGES; i++) {
		bool lost = i == 7 || (i >= 300 && i < 500) || i == PAGES - 1;

		assert_int_equal(got.dirty[i], lost);
		assert_int_equal(got.delivered[i], !lost);
	}
	pagescan_regions_fini(&regions);
}

/* Every other page is lost: runs fall apart as much as they can. */
static void a_part_may_fall_to_pieces(void **state)
{
	struct pagescan_regions regions = { 0 };
	struct copy_counts counts;

	(void)state;
	for (size_t i = 0; i < PAGES; i += 2)
		munmap(memory + i * pagescan_page_size(), pagescan_page_size());
	add(&regions, 0, PAGES, LIVE_COPY);
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 1 }, &counts), 0);
	assert_int_equal(got.wrong, 0);
	for (size_t i = 0; i < PAGES; i++) {
		assert_int_equal(got.dirty[i], i % 2 == 0);
		assert_int_equal(got.delivered[i], i % 2);
	}
	pagescan_regions_fini(&regions);
}

static void a_failure_ends_all(void **state)
{
	struct pagescan_regions regions = { 0 };
	struct copy_counts counts;

	(void)state;
	add(&regions, 0, PAGES, LIVE_COPY);
	got.fail_at = 3;
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 3 }, &counts), -ENOSPC);
	got.fail_at = -1;
	got.last = 0;
	got.mark_fails = true;
	munmap(memory, pagescan_page_size());
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 1 }, &counts), -ENOMEM);
	got.last = 0;
	stopped = 1;
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 2 }, &counts), -EINTR);
	assert_int_equal(counts.copied, 0);
	pagescan_regions_fini(&regions);
}

/* What a forked child shares is not taken from it, which would cost all that memory again. */
static void what_is_shared_stays_shared(void **state)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pagescan_regions regions = { 0 };
	struct copy_counts counts;
	uint64_t pme;
	pid_t child = start_child();

	(void)state;
	if (!child)
		pause();
	add(&regions, 0, PAGES, LIVE_COPY);
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 2 }, &counts), 0);
	assert_int_equal(counts.copied, PAGES);
	for (size_t i = 0; i < PAGES; i++) {
		off_t at = (off_t)((uintptr_t)memory / pagescan_page_size() + i) * (off_t)sizeof(pme);

		assert_int_equal(pread(pagemap, &pme, sizeof(pme), at), sizeof(pme));
		assert_false(pme & PME_EXCLUSIVE);
	}
	end_child(child);
	close(pagemap);
	pagescan_regions_fini(&regions);
}

/* No upper bound: a busy machine takes as long as it takes. */
static void a_rate_is_kept(void **state)
{
	struct pagescan_regions regions = { 0 };
	struct timespec before, after;
	struct copy_counts counts;

	(void)state;
	add(&regions, 0, PAGES, LIVE_COPY);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(copy(&regions, (struct copy_plan){ .jobs = 2, .rate = 64 << 20 }, &counts), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	/* 16 MiB less the last MiB, whose time is nobody's. */
	assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 230);
	pagescan_regions_fini(&regions);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(all_pages_come_in_order),
		CASE(what_cannot_be_read_is_dirty),
		CASE(a_part_may_fall_to_pieces),
		CASE(a_failure_ends_all),
		CASE(what_is_shared_stays_shared),
		CASE(a_rate_is_kept),
		CASE(what_was_spared_takes_no_bandwidth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
