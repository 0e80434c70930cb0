// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - where pages wait. Calls huge, the kernel.
 *
 * The address space of a process has room for 2,000 blocks of 64 GiB, of which a task needs one for each neighbourhood
 * of its memory: two or three. Blocks that are neighbours in the task become neighbours here if that is possible.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <pagescan.h>

#include "huge.h"
#include "pool.h"

#define GIB	   (1UL << 30)
#define CHUNK	   (2UL << 20)
#define BLOCK	   (64 * GIB)
#define BLOCKS_MAX 2047 /* user addresses have 47 bits (x86-64), or more */
/* Blocks that are no neighbours are laid so far apart that they can still get some. */
#define SPREAD 4

struct pool_task *pool_task(struct pool *pool, int pid, bool make)
{
	struct pool_task *tasks;

	for (size_t i = 0; i < pool->nr; i++) {
		if (pool->tasks[i].pid == pid)
			return &pool->tasks[i];
	}
	tasks = make ? reallocarray(pool->tasks, pool->nr + 1, sizeof(*tasks)) : NULL;
	if (!tasks)
		return NULL;
	pool->tasks = tasks;
	tasks[pool->nr] = (struct pool_task){ .pid = pid };
	return &tasks[pool->nr++];
}

static struct pool_block *block_of(const struct pool_task *task, uint64_t addr)
{
	for (size_t i = 0; i < task->nr_blocks; i++) {
		if (addr - task->blocks[i].start < BLOCK)
			return &task->blocks[i];
	}
	return NULL;
}

/* Nothing but the address is taken: neither memory nor the right to some. */
static bool reserve(uint64_t base)
{
	void *at = mmap((void *)base, BLOCK, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	/* Before 4.17 the flag is only a hint. */
	if (at != MAP_FAILED && at != (void *)base)
		munmap(at, BLOCK);
	return at == (void *)base;
}

static int add_block(struct pool_task *task, uint64_t start)
{
	const struct pool_block *before = start ? block_of(task, start - 1) : NULL;
	const struct pool_block *behind = block_of(task, start + BLOCK);
	struct pool_block *blocks = reallocarray(task->blocks, task->nr_blocks + 1, sizeof(*blocks));
	uint64_t base = 0;

	if (!blocks)
		return -ENOMEM;
	before = before ? blocks + (before - task->blocks) : NULL;
	behind = behind ? blocks + (behind - task->blocks) : NULL;
	task->blocks = blocks;
	if (before && reserve(before->base + BLOCK))
		base = before->base + BLOCK;
	else if (behind && behind->base > BLOCK && reserve(behind->base - BLOCK))
		base = behind->base - BLOCK;
	for (uint64_t first = 2; !base && first < 2 + SPREAD; first++) {
		for (uint64_t i = first; !base && i < BLOCKS_MAX; i += SPREAD)
			base = reserve(i * BLOCK) ? i * BLOCK : 0;
	}
	if (!base)
		return -ENOSPC;
	blocks[task->nr_blocks++] = (struct pool_block){ .start = start, .base = base };
	return 0;
}

size_t pool_range_at(const struct pool_task *task, uint64_t addr)
{
	size_t low = 0, high = task->nr_ranges;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (task->ranges[middle].end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* A new mapping in place of whatever is there, in one block. */
static int map_piece(struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (kind & POOL_NORESERVE ? MAP_NORESERVE : 0);
	const struct pool_block *block = block_of(task, start);
	void *at;

	if (!block)
		return -EFAULT;
	at = (void *)(block->base + (start - block->start));
	if (mmap(at, end - start, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
		return -errno;
	if (kind & POOL_HUGEPAGE && madvise(at, end - start, MADV_HUGEPAGE) < 0)
		return -errno;
	return madvise(at, end - start, MADV_DONTFORK) < 0 ? -errno : pool_set_round(task, start, end, 0);
}

static int map_new(struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind)
{
	int err = 0;

	for (uint64_t at = start; !err && at < end;) {
		const uint64_t first = at & ~(BLOCK - 1);
		const uint64_t stop = end - first > BLOCK ? first + BLOCK : end;

		if (!block_of(task, at))
			err = add_block(task, first);
		if (!err)
			err = map_piece(task, at, stop, kind);
		at = stop;
	}
	return err;
}

/* Put @range in the place of the @nr ranges from @at on. */
static int replace(struct pool_task *task, size_t at, size_t nr, const struct pool_range *range, size_t nr_new)
{
	struct pool_range *v = task->ranges;

	if (nr_new > nr) {
		v = reallocarray(v, task->nr_ranges + nr_new - nr, sizeof(*v));
		if (!v)
			return -ENOMEM;
		task->ranges = v;
	}
	memmove(v + at + nr_new, v + at + nr, (task->nr_ranges - at - nr) * sizeof(*v));
	memcpy(v + at, range, nr_new * sizeof(*v));
	task->nr_ranges += nr_new - nr;
	return 0;
}

/* [start, end) is of one kind now: one range with what touches it, what it cuts is shorter. */
static int note(struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind)
{
	struct pool_range new[3] = { { start, end, kind } }, *v = task->ranges;
	size_t first = pool_range_at(task, start ? start - 1 : 0), last = first, nr = 0;
	struct pool_range middle = { start, end, kind };

	for (; last < task->nr_ranges && v[last].start <= end; last++) {
		if (v[last].kind == kind) {
			middle.start = v[last].start < middle.start ? v[last].start : middle.start;
			middle.end = v[last].end > middle.end ? v[last].end : middle.end;
		}
	}
	if (last > first && v[first].start < middle.start)
		new[nr++] = (struct pool_range){ v[first].start, middle.start, v[first].kind };
	new[nr++] = middle;
	if (last > first && v[last - 1].end > middle.end)
		new[nr++] = (struct pool_range){ middle.end, v[last - 1].end, v[last - 1].kind };
	return replace(task, first, last - first, new, nr);
}

int pool_map(struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind)
{
	int err = 0;

	for (uint64_t at = start; !err && at < end;) {
		const size_t i = pool_range_at(task, at);
		const struct pool_range *range = i < task->nr_ranges ? &task->ranges[i] : NULL;
		uint64_t stop = range && range->start < end ? range->start : end;

		if (range && range->start <= at)
			stop = range->end < end ? range->end : end;
		if (!range || range->start > at || range->kind != kind) {
			err = map_new(task, at, stop, kind);
			if (!err)
				err = note(task, at, stop, kind);
		}
		at = stop;
	}
	return err;
}

void *pool_at(const struct pool_task *task, uint64_t addr, uint64_t end, size_t *len)
{
	const size_t i = pool_range_at(task, addr);
	const struct pool_block *block = block_of(task, addr), *next;
	uint64_t stop;

	if (i == task->nr_ranges || task->ranges[i].start > addr || !block)
		return NULL;
	stop = task->ranges[i].end < end ? task->ranges[i].end : end;
	*len = stop - addr;
	for (uint64_t at = block->start + BLOCK; at < stop; at += BLOCK) {
		next = block_of(task, at);
		if (!next || next->base - block->base != next->start - block->start) {
			*len = at - addr;
			break;
		}
	}
	return (void *)(block->base + (addr - block->start));
}

void *pool_find(const struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind)
{
	const size_t i = pool_range_at(task, start);
	size_t len;
	void *at = pool_at(task, start, end, &len);

	return at && len == end - start && task->ranges[i].kind == kind ? at : NULL;
}

/* The bytes of the 2 MiB around @addr, NULL where there are none. */
static uint8_t *rounds_at(const struct pool_block *block, uint64_t addr)
{
	uint8_t **gib = block->rounds[(addr - block->start) / GIB];

	return gib ? gib[addr % GIB / CHUNK] : NULL;
}

unsigned int pool_round(const struct pool_task *task, uint64_t addr)
{
	const struct pool_block *block = block_of(task, addr);
	const uint8_t *rounds = block ? rounds_at(block, addr) : NULL;

	return rounds ? rounds[addr % CHUNK / pagescan_page_size()] : 0;
}

/* The end of the aligned piece around @addr which has bytes, or of the largest that has none. */
static uint64_t piece_end(const struct pool_block *block, uint64_t addr)
{
	const uint64_t size = !block ? BLOCK : block->rounds[(addr - block->start) / GIB] ? CHUNK : GIB;

	return (addr & ~(size - 1)) + size;
}

/* How many of the @nr bytes at @rounds are @round, from the first on. Mostly it is all of them. */
static size_t run_of(const uint8_t *rounds, size_t nr, unsigned int round)
{
	size_t run = 0;

	if (nr && rounds[0] == round && !memcmp(rounds, rounds + 1, nr - 1))
		return nr;
	while (run < nr && rounds[run] == round)
		run++;
	return run;
}

uint64_t pool_next(const struct pool_task *task, uint64_t start, uint64_t end)
{
	const uint64_t page = pagescan_page_size();

	for (uint64_t at = start, stop; at < end; at = stop) {
		const struct pool_block *block = block_of(task, at);
		const uint8_t *rounds = block ? rounds_at(block, at) : NULL;

		stop = piece_end(block, at);
		if (rounds)
			at += run_of(rounds + at % CHUNK / page, (stop - at) / page, 0) * page;
		if (rounds && at < stop)
			return at < end ? at : end;
	}
	return end;
}

uint64_t pool_next_without(const struct pool_task *task, uint64_t start, uint64_t end)
{
	const uint64_t page = pagescan_page_size();

	for (uint64_t stop; start < end; start = stop) {
		const struct pool_block *block = block_of(task, start);
		const uint8_t *rounds = block ? rounds_at(block, start) : NULL, *none;

		if (!rounds)
			return start;
		stop = piece_end(block, start);
		rounds += start % CHUNK / page;
		none = memchr(rounds, 0, (stop - start) / page);
		if (none) {
			start += (uint64_t)(none - rounds) * page;
			break;
		}
	}
	return start < end ? start : end;
}

uint64_t pool_same_round(const struct pool_task *task, uint64_t start, uint64_t end)
{
	const uint64_t page = pagescan_page_size();
	const unsigned int round = pool_round(task, start);

	for (uint64_t stop; start < end; start = stop) {
		const struct pool_block *block = block_of(task, start);
		const uint8_t *rounds = block ? rounds_at(block, start) : NULL;

		stop = piece_end(block, start);
		if (!rounds && round)
			break;
		if (rounds)
			start += run_of(rounds + start % CHUNK / page, (stop - start) / page, round) * page;
		if (rounds && start < stop)
			break;
	}
	return start < end ? start : end;
}

/* The bytes of the 2 MiB around @addr, which are made if they are not there. NULL: no memory. */
static uint8_t *make_rounds(struct pool_block *block, uint64_t addr)
{
	uint8_t ***gib = &block->rounds[(addr - block->start) / GIB], **rounds;

	if (!*gib)
		*gib = calloc(GIB / CHUNK, sizeof(**gib));
	if (!*gib)
		return NULL;
	rounds = &(*gib)[addr % GIB / CHUNK];
	if (!*rounds)
		*rounds = calloc(CHUNK / pagescan_page_size(), 1);
	return *rounds;
}

static int drop_pages(const struct pool_task *task, uint64_t start, uint64_t end)
{
	for (uint64_t at = start, stop; at < end; at = stop) {
		const struct pool_block *block = block_of(task, at);

		stop = (at & ~(BLOCK - 1)) + BLOCK;
		stop = stop < end ? stop : end;
		if (!block)
			return -EFAULT;
		if (madvise((void *)(block->base + (at - block->start)), stop - at, MADV_DONTNEED) < 0)
			return -errno;
	}
	return 0;
}

int pool_set_round(struct pool_task *task, uint64_t start, uint64_t end, unsigned int round)
{
	const uint64_t page = pagescan_page_size();

	for (uint64_t at = start, stop; at < end; at = stop) {
		struct pool_block *block = block_of(task, at);
		uint8_t *rounds;

		if (!block)
			return -EFAULT;
		rounds = round ? make_rounds(block, at) : rounds_at(block, at);
		if (!rounds && round)
			return -ENOMEM;
		stop = piece_end(block, at);
		stop = stop < end ? stop : end;
		if (rounds)
			memset(rounds + at % CHUNK / page, (int)round, (stop - at) / page);
	}
	return round ? 0 : drop_pages(task, start, end);
}

uint64_t pool_bytes(const struct pool_task *task)
{
	uint64_t bytes = 0, stop;

	for (size_t i = 0; i < task->nr_ranges; i++) {
		const uint64_t end = task->ranges[i].end;

		for (uint64_t at = pool_next(task, task->ranges[i].start, end); at < end;
		     at = pool_next(task, stop, end)) {
			stop = pool_next_without(task, at, end);
			bytes += stop - at;
		}
	}
	return bytes;
}

void pool_inherit(const struct pool_task *task, bool inherit)
{
	for (size_t i = 0; i < task->nr_ranges; i++) {
		const struct pool_range *range = &task->ranges[i];
		size_t len = 0;

		for (uint64_t at = range->start; at < range->end; at += len) {
			void *here = pool_at(task, at, range->end, &len);

			/* What has been moved into place is not there any more. */
			if (!here || madvise(here, len, inherit ? MADV_DOFORK : MADV_DONTFORK) < 0)
				break;
		}
	}
}

static void free_rounds(uint8_t **gib)
{
	for (size_t i = 0; gib && i < GIB / CHUNK; i++)
		free(gib[i]);
	free(gib);
}

static void forget(struct pool_task *task)
{
	for (size_t i = 0; i < task->nr_blocks; i++) {
		for (size_t gib = 0; gib < BLOCK / GIB; gib++)
			free_rounds(task->blocks[i].rounds[gib]);
	}
	free(task->ranges);
	free(task->blocks);
	*task = (struct pool_task){ .pid = task->pid };
}

void pool_drop(struct pool_task *task)
{
	for (size_t i = 0; i < task->nr_blocks && !task->gone; i++)
		munmap((void *)task->blocks[i].base, BLOCK);
	forget(task);
}

void pool_let_go(struct pool_task *task)
{
	pool_inherit(task, false);
	for (size_t i = 0; i < task->nr_blocks; i++)
		huge_unmap(task->blocks[i].base, task->blocks[i].base + BLOCK);
	task->nr_ranges = 0;
	task->gone = true;
}

void pool_fini(struct pool *pool)
{
	for (size_t i = 0; i < pool->nr; i++)
		pool_drop(&pool->tasks[i]);
	free(pool->tasks);
	*pool = (struct pool){ 0 };
}
