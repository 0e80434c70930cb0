/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.h - the memory of processes that are still to be restored, at rest in the process that will fork them.
 *
 * Each task's pages lie at addresses congruent to their own modulo 1 GiB, so that they can be moved into place with
 * whole page tables and stay huge. For each page the pool knows of which round it is. Nothing here is thread-safe.
 */
#ifndef PAGESCAN_LAND_POOL_H
#define PAGESCAN_LAND_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The rounds are numbered from 1 on; a byte holds the number. */
#define POOL_ROUNDS 255

/* What mmap(2) and madvise(2) made of an area that cannot be changed later without losing its pages. */
#define POOL_NORESERVE 1u
#define POOL_HUGEPAGE  2u

/* A mapped part of a task's memory, [start, end) in its own addresses. @kind: POOL_* */
struct pool_range {
	uint64_t start;
	uint64_t end;
	unsigned int kind;
};

/*
 * 64 GiB of a task's addresses, from @start on, are at @base here. @rounds: for each GiB, for each 2 MiB in it, a byte for
 * each page; NULL: all are 0.
 */
struct pool_block {
	uint64_t start;
	uint64_t base;
	uint8_t **rounds[64];
};

struct pool_task {
	int pid;
	struct pool_range *ranges;
	size_t nr_ranges;
	struct pool_block *blocks;
	size_t nr_blocks;
	bool gone; /* pool_let_go() */
};

/* Initialise with zeros. */
struct pool {
	struct pool_task *tasks;
	size_t nr;
};

/* The task that CRIU knows as @pid; it is made if it is not there and @make. NULL: not there, or no memory. */
struct pool_task *pool_task(struct pool *pool, int pid, bool make);

/*
 * Map [start, end), addresses of the task, as @kind wherever it is not mapped so already. What is mapped as another kind
 * loses its pages. The memory is not inherited by fork(2) until pool_inherit(). Returns 0 or a negative errno; -ENOSPC:
 * no place for it in this process.
 */
int pool_map(struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind);

/* Where [start, end) is in this process; NULL if it is not all mapped as one kind, @kind, and in one piece. */
void *pool_find(const struct pool_task *task, uint64_t start, uint64_t end, unsigned int kind);

/* The mapped range that holds @addr, or the first one behind it; task->nr_ranges where there is none. */
size_t pool_range_at(const struct pool_task *task, uint64_t addr);

/* Where the mapped page at @addr is, and how many bytes up to @end lie behind it in one piece and are mapped. */
void *pool_at(const struct pool_task *task, uint64_t addr, uint64_t end, size_t *len);

/* Of which round the page at @addr is; 0: it has never been read, or was dropped. */
unsigned int pool_round(const struct pool_task *task, uint64_t addr);

/*
 * The first page of [start, end) that is of some round, @end where there is none; and one that is of none. Memory of which
 * nothing was ever read is passed over quickly: areas can be vast and empty.
 */
uint64_t pool_next(const struct pool_task *task, uint64_t start, uint64_t end);
uint64_t pool_next_without(const struct pool_task *task, uint64_t start, uint64_t end);

/* Where the pages from @start on that are of the same round as the first end; @end at most. */
uint64_t pool_same_round(const struct pool_task *task, uint64_t start, uint64_t end);

/* The pages of [start, end), all mapped, are of this round now. 0: they are dropped. Returns 0 or -ENOMEM. */
int pool_set_round(struct pool_task *task, uint64_t start, uint64_t end, unsigned int round);

/* Bytes of pages that are of some round. */
uint64_t pool_bytes(const struct pool_task *task);

/* Shall children inherit the task's memory? */
void pool_inherit(const struct pool_task *task, bool inherit);

/*
 * The task has its memory now, and this process, which does not touch it any more, forgets it. Huge pages are unmapped,
 * as the task's first write would split one that is mapped here, too. Small ones stay mapped until this process unmaps
 * everything or ends: it takes 70 ms a GiB and more, and nobody has to wait for it. They are not inherited again. What is
 * known of them is not freed before pool_drop(), as that would write to each page of it, which the task's process shares.
 */
void pool_let_go(struct pool_task *task);

/* Unmap all that is the task's, or the pool's, and forget it. */
void pool_drop(struct pool_task *task);
void pool_fini(struct pool *pool);

#endif
