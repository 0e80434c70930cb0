// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pid that is taken again: in each odd round the child dies, is reaped, and the next child gets the same pid. It maps
 * its areas at the same addresses, fills one with other bytes and leaves the other, which the first child of two had
 * written, as zeros. The images of the round before hold the dead child's memory under that pid.
 */
#include <linux/sched.h>
#include <sys/syscall.h>

#include "track_model.h"

const char *test_doc = "a new task with a dead task's pid";
const char *test_author = "criu-pagescan";

static struct model own = { .name = "the parent's", .id = 1, .pages = 2048 };
static struct model area = { .name = "the child's", .pages = 512 };
static struct model rarely = { .name = "of every second child", .pages = 512 };
static pid_t wanted; /* the pid of the next child */

/* Children are numbered; a new one comes with each odd round. */
static unsigned int child_of(unsigned int round)
{
	return (round + 1) / 2;
}

static bool writes_rarely(unsigned int number)
{
	return number % 2 == 0;
}

static void set_areas(unsigned int number)
{
	area.id = 16 + 2 * number;
	rarely.id = area.id + 1;
}

/* By its number in the kernel's newer interface, else by having the kernel count from just below. */
static pid_t fork_wanted(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1 };
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));
	FILE *f;

	if (pid >= 0 || errno == EEXIST)
		return pid;
	f = fopen("/proc/sys/kernel/ns_last_pid", "we");
	if (f && fprintf(f, "%d", wanted - 1) > 0 && !fclose(f))
		return test_fork();
	return -1;
}

static void bear(struct peer *p, unsigned int round)
{
	unsigned int number = child_of(round);

	set_areas(number);
	if (!peer_fork_by(p, wanted ? fork_wanted : fork)) {
		if (writes_rarely(number))
			model_fill(&rarely, round);
		peer_serve(p, &area, round);
	}
	peer_await(p, round);
}

int main(int argc, char **argv)
{
	struct peer child;
	unsigned int round, birth;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&own);
	model_map_private(&area);
	model_map_private(&rarely);
	model_fill(&own, 0);
	bear(&child, 0);
	wanted = child.pid;

	test_daemon();
	while (rounds_next(&round)) {
		if (child_of(round) != child_of(round - 1)) {
			peer_end(&child);
			bear(&child, round);
			if (child.pid != wanted)
				return pr_err("The new child is %d, not %d\n", child.pid, wanted);
		} else {
			peer_ask(&child, round);
		}
		model_write(&own, round);
		rounds_done();
	}

	round = rounds_last();
	birth = round ? (round - 1) | 1 : 0;
	set_areas(child_of(round));
	wrong += model_check(&own, 0, round);
	/* Inherited before the parent wrote in that round. */
	wrong += model_check(&own, child.pid, birth ? birth - 1 : 0);
	wrong += model_check(&area, child.pid, round);
	if (writes_rarely(child_of(round)))
		wrong += model_check(&rarely, child.pid, birth);
	else
		wrong += model_check_by(&rarely, child.pid, round, model_zero);
	peer_end(&child);
	return model_verdict(wrong, round);
}
