// SPDX-License-Identifier: GPL-2.0-only
/* Where pages wait: what is mapped as what, of which round a page is, and that nothing is mistaken for another page. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "land/pool.h"
#include "unit.h"

#define PAGE  4096UL
#define HUGE  (2UL << 20)
#define GIB   (1UL << 30)
#define BLOCK (64 * GIB)
#define BASE  0x7f1234400000UL

static unsigned char byte_at(const struct pool_task *task, uint64_t addr)
{
	size_t len;
	const unsigned char *at = pool_at(task, addr, addr + PAGE, &len);

	assert_non_null(at);
	return *at;
}

static void put(struct pool_task *task, uint64_t start, uint64_t end, unsigned char byte, unsigned int round)
{
	size_t len = 0;

	for (uint64_t at = start; at < end; at += len) {
		void *here = pool_at(task, at, end, &len);

		assert_non_null(here);
		memset(here, byte, len);
	}
	assert_int_equal(pool_set_round(task, start, end, round), 0);
}

static void tasks_are_found_by_pid(void **state)
{
	struct pool pool = { 0 };

	(void)state;
	assert_null(pool_task(&pool, 7, false));
	assert_non_null(pool_task(&pool, 7, true));
	assert_non_null(pool_task(&pool, 8, true));
	assert_int_equal(pool.nr, 2);
	assert_ptr_equal(pool_task(&pool, 7, true), &pool.tasks[0]);
	assert_int_equal(pool_task(&pool, 8, false)->pid, 8);
	pool_fini(&pool);
	assert_int_equal(pool.nr, 0);
}

/* Otherwise huge pages are split when they are moved into place. */
static void addresses_are_congruent(void **state)
{
	struct pool_task task = { 0 };

	(void)state;
	assert_int_equal(pool_map(&task, BASE, BASE + HUGE, 0), 0);
	assert_int_equal(((uint64_t)pool_find(&task, BASE, BASE + HUGE, 0) - BASE) % GIB, 0);
	pool_drop(&task);
	assert_int_equal(task.nr_ranges, 0);
}

static void what_grows_keeps_its_pages(void **state)
{
	struct pool_task task = { 0 };

	(void)state;
	assert_int_equal(pool_map(&task, BASE + HUGE, BASE + 2 * HUGE, POOL_NORESERVE), 0);
	put(&task, BASE + HUGE, BASE + 2 * HUGE, 1, 1);
	assert_null(pool_find(&task, BASE, BASE + 3 * HUGE, POOL_NORESERVE));
	assert_int_equal(pool_map(&task, BASE, BASE + 3 * HUGE, POOL_NORESERVE), 0);
	assert_int_equal(task.nr_ranges, 1);
	assert_non_null(pool_find(&task, BASE, BASE + 3 * HUGE, POOL_NORESERVE));
	assert_int_equal(byte_at(&task, BASE), 0);
	assert_int_equal(byte_at(&task, BASE + HUGE), 1);
	assert_int_equal(pool_round(&task, BASE), 0);
	assert_int_equal(pool_round(&task, BASE + HUGE), 1);
	assert_int_equal(pool_bytes(&task), HUGE);
	pool_drop(&task);
}

/* What cannot be changed about a mapping later is told before, or the pages are read again. */
static void another_kind_has_no_pages(void **state)
{
	struct pool_task task = { 0 };

	(void)state;
	assert_int_equal(pool_map(&task, BASE, BASE + 4 * HUGE, 0), 0);
	put(&task, BASE, BASE + 4 * HUGE, 1, 3);
	assert_null(pool_find(&task, BASE, BASE + HUGE, POOL_NORESERVE));
	assert_int_equal(pool_map(&task, BASE + HUGE, BASE + 2 * HUGE, POOL_NORESERVE | POOL_HUGEPAGE), 0);
	assert_int_equal(task.nr_ranges, 3);
	assert_int_equal(pool_round(&task, BASE + HUGE - PAGE), 3);
	assert_int_equal(pool_round(&task, BASE + HUGE), 0);
	assert_int_equal(byte_at(&task, BASE + HUGE), 0);
	assert_int_equal(pool_round(&task, BASE + 2 * HUGE), 3);
	assert_null(pool_find(&task, BASE, BASE + 4 * HUGE, 0));
	assert_non_null(pool_find(&task, BASE + 2 * HUGE, BASE + 4 * HUGE, 0));
	/* And back: of one kind again, and still without those pages. */
	assert_int_equal(pool_map(&task, BASE, BASE + 4 * HUGE, 0), 0);
	assert_int_equal(task.nr_ranges, 1);
	assert_int_equal(pool_round(&task, BASE + HUGE), 0);
	assert_int_equal(pool_bytes(&task), 3 * HUGE);
	pool_drop(&task);
}

/* Neighbourhoods of 64 GiB that an area crosses are neighbours here, too, if there is room. */
static void an_area_may_cross_blocks(void **state)
{
	const uint64_t border = (BASE & ~(BLOCK - 1)) + BLOCK;
	struct pool_task task = { 0 };

	(void)state;
	assert_int_equal(pool_map(&task, border - HUGE, border + HUGE, 0), 0);
	put(&task, border - PAGE, border + PAGE, 9, 2);
	assert_int_equal(task.nr_blocks, 2);
	assert_non_null(pool_find(&task, border - HUGE, border + HUGE, 0));
	assert_int_equal(byte_at(&task, border - PAGE), 9);
	assert_int_equal(byte_at(&task, border), 9);
	assert_int_equal(pool_bytes(&task), 2 * PAGE);
	pool_drop(&task);
}

static void blocks_that_are_apart_are_no_piece(void **state)
{
	const uint64_t border = (BASE & ~(BLOCK - 1)) + BLOCK;
	struct pool_task task = { 0 };
	size_t len = 0;
	void *taken;

	(void)state;
	assert_int_equal(pool_map(&task, border - HUGE, border, 0), 0);
	taken = mmap((void *)(task.blocks[0].base + BLOCK), PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_int_not_equal(taken, MAP_FAILED);
	assert_int_equal(pool_map(&task, border - HUGE, border + HUGE, 0), 0);
	assert_null(pool_find(&task, border - HUGE, border + HUGE, 0));
	assert_non_null(pool_at(&task, border - HUGE, border + HUGE, &len));
	assert_int_equal(len, HUGE);
	put(&task, border - HUGE, border + HUGE, 4, 1);
	assert_int_equal(byte_at(&task, border), 4);
	pool_drop(&task);
	munmap(taken, PAGE);
}

static void tasks_with_the_same_addresses_do_not_meet(void **state)
{
	struct pool pool = { 0 };

	(void)state;
	for (int pid = 1; pid <= 20; pid++) {
		assert_int_equal(pool_map(pool_task(&pool, pid, true), BASE, BASE + PAGE, 0), 0);
		put(pool_task(&pool, pid, false), BASE, BASE + PAGE, (unsigned char)pid, 1);
	}
	for (int pid = 1; pid <= 20; pid++)
		assert_int_equal(byte_at(pool_task(&pool, pid, false), BASE), pid);
	pool_fini(&pool);
}

static void dropped_pages_are_gone(void **state)
{
	struct pool_task task = { 0 };

	(void)state;
	assert_int_equal(pool_map(&task, BASE, BASE + 4 * PAGE, 0), 0);
	put(&task, BASE, BASE + 4 * PAGE, 5, 1);
	assert_int_equal(pool_set_round(&task, BASE + PAGE, BASE + 2 * PAGE, 0), 0);
	assert_int_equal(byte_at(&task, BASE + PAGE), 0);
	assert_int_equal(byte_at(&task, BASE + 2 * PAGE), 5);
	assert_int_equal(pool_round(&task, BASE + PAGE), 0);
	assert_int_equal(pool_bytes(&task), 3 * PAGE);
	pool_drop(&task);
}

/* Is the byte at @at readable in a child? */
static bool child_has(const void *at)
{
	int status;
	pid_t child = fork();

	if (!child) {
		unsigned char here;

		/* msync(2) tells of memory that is not mapped. */
		_exit(mincore((void *)((uint64_t)at & ~(PAGE - 1)), PAGE, &here) ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WEXITSTATUS(status);
}

static void only_what_is_meant_for_it_goes_to_a_child(void **state)
{
	struct pool_task task = { 0 };
	void *at;

	(void)state;
	assert_int_equal(pool_map(&task, BASE, BASE + 4 * PAGE, 0), 0);
	at = pool_find(&task, BASE, BASE + 4 * PAGE, 0);
	assert_false(child_has(at));
	pool_inherit(&task, true);
	assert_true(child_has(at));
	pool_inherit(&task, false);
	assert_false(child_has(at));
	pool_drop(&task);
}

/* Small pages stay, as to unmap them takes its time. */
static void what_is_let_go_of_is_not_inherited_again(void **state)
{
	struct pool_task task = { .pid = 7 };
	const unsigned char *at;

	(void)state;
	assert_int_equal(pool_map(&task, BASE, BASE + 4 * PAGE, 0), 0);
	put(&task, BASE, BASE + 4 * PAGE, 'x', 1);
	at = pool_find(&task, BASE, BASE + 4 * PAGE, 0);
	pool_inherit(&task, true);
	pool_let_go(&task);
	assert_int_equal(task.pid, 7);
	assert_null(pool_find(&task, BASE, BASE + 4 * PAGE, 0));
	assert_int_equal(*at, 'x');
	assert_false(child_has((void *)(uintptr_t)at));
	pool_drop(&task);
	assert_int_equal(*at, 'x');
	munmap((void *)(uintptr_t)at, 4 * PAGE);
}

/* The first write of the one whose they are would split them. */
static void huge_pages_are_unmapped_when_they_are_let_go_of(void **state)
{
	struct pool_task task = { 0 };
	unsigned char *at, here;

	(void)state;
	assert_int_equal(pool_map(&task, BASE, BASE + 2 * HUGE, POOL_HUGEPAGE), 0);
	put(&task, BASE, BASE + HUGE, 'x', 1);
	put(&task, BASE + HUGE, BASE + HUGE + PAGE, 'y', 1);
	at = pool_find(&task, BASE, BASE + 2 * HUGE, POOL_HUGEPAGE);
	/* Small pages, of the second one. */
	assert_int_equal(madvise(at + HUGE + PAGE, PAGE, MADV_DONTNEED), 0);
	pool_let_go(&task);
	assert_int_equal(mincore(at, PAGE, &here), -1);
	pool_drop(&task);
	munmap(at, 2 * HUGE);
}

/* Random maps and pages against a plain list. */
static void it_agrees_with_a_plain_list(void **state)
{
	enum { PAGES = 64, STEPS = 3000 };
	struct {
		int kind;
		unsigned int round;
	} model[PAGES];
	struct pool_task task = { 0 };
	uint64_t random = 11;

	(void)state;
	for (size_t i = 0; i < PAGES; i++)
		model[i].kind = -1, model[i].round = 0;
	for (int step = 0; step < STEPS; step++) {
		size_t first = next_random(&random) % PAGES, end = first + 1 + next_random(&random) % (PAGES - first);
		const unsigned int kind = next_random(&random) % 2, round = 1 + next_random(&random) % 200;

		assert_int_equal(pool_map(&task, BASE + first * PAGE, BASE + end * PAGE, kind), 0);
		for (size_t i = first; i < end; i++) {
			if (model[i].kind != (int)kind)
				model[i].round = 0;
			model[i].kind = (int)kind;
		}
		end = first + 1 + next_random(&random) % (end - first);
		put(&task, BASE + first * PAGE, BASE + end * PAGE, (unsigned char)round, round);
		for (size_t i = first; i < end; i++)
			model[i].round = round;
		for (size_t i = 0; i < PAGES; i++) {
			const uint64_t addr = BASE + i * PAGE;
			size_t len;

			assert_int_equal(pool_round(&task, addr), model[i].round);
			assert_int_equal(!!pool_at(&task, addr, addr + PAGE, &len), model[i].kind >= 0);
			if (model[i].kind < 0)
				continue;
			assert_int_equal(byte_at(&task, addr), (unsigned char)model[i].round);
			assert_int_equal(!!pool_find(&task, addr, addr + PAGE, 0), model[i].kind == 0);
			assert_int_equal(!!pool_find(&task, addr, addr + PAGE, 1), model[i].kind == 1);
		}
		for (size_t i = 1; i < task.nr_ranges; i++)
			assert_true(task.ranges[i - 1].end <= task.ranges[i].start);
	}
	pool_drop(&task);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_are_found_by_pid),
		cmocka_unit_test(addresses_are_congruent),
		cmocka_unit_test(what_grows_keeps_its_pages),
		cmocka_unit_test(another_kind_has_no_pages),
		cmocka_unit_test(an_area_may_cross_blocks),
		cmocka_unit_test(blocks_that_are_apart_are_no_piece),
		cmocka_unit_test(tasks_with_the_same_addresses_do_not_meet),
		cmocka_unit_test(dropped_pages_are_gone),
		cmocka_unit_test(only_what_is_meant_for_it_goes_to_a_child),
		cmocka_unit_test(what_is_let_go_of_is_not_inherited_again),
		cmocka_unit_test(huge_pages_are_unmapped_when_they_are_let_go_of),
		cmocka_unit_test(it_agrees_with_a_plain_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
