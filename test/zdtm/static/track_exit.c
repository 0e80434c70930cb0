// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks that exit and are born between rounds. In each round a third of the children exits and is followed by new
 * ones, which inherit what their parent's memory is at that moment and fill an area at the same address as the others.
 * The first that exits in a round stays a zombie until the next one. One task loses its parent and becomes its
 * grandparent's.
 */
#include <sys/prctl.h>

#include "track_model.h"

const char *test_doc = "tasks exit and are born between rounds";
const char *test_author = "criu-pagescan";

#define CHILDREN     6
#define ORPHAN_ROUND 2 /* in which the orphan loses its parent */

static struct model own = { .name = "inherited", .id = 1, .pages = 1024 };
static struct model orphans = { .name = "the orphan's", .id = 2, .pages = 512 };
static struct model area = { .name = "a child's", .pages = 512 };
static struct peer children[CHILDREN], zombie, orphan;
static pid_t *orphan_pid; /* shared memory */

static unsigned int birth_of(unsigned int child, unsigned int round)
{
	while (round && (round + child) % 3)
		round--;
	return round;
}

static void set_area(unsigned int child, unsigned int birth)
{
	area.id = 16 + CHILDREN * birth + child;
}

static void bear(unsigned int child, unsigned int round)
{
	set_area(child, round);
	if (!peer_fork(&children[child]))
		peer_serve(&children[child], &area, round);
	peer_await(&children[child], round);
}

/* The child is only there to be the parent of the one that works. */
static pid_t fork_twice(void)
{
	pid_t pid = test_fork();

	if (pid)
		return pid;
	pid = test_fork();
	if (!pid)
		return 0;
	*orphan_pid = pid;
	for (;;)
		pause();
}

static void replace_children(unsigned int round)
{
	bool reaped_late = true;

	if (zombie.pid)
		peer_reap(&zombie);
	zombie.pid = 0;
	for (unsigned int child = 0; child < CHILDREN; child++) {
		if (birth_of(child, round) != round) {
			peer_ask(&children[child], round);
			continue;
		}
		if (reaped_late) {
			zombie = children[child];
			kill(zombie.pid, SIGKILL);
			reaped_late = false;
		} else {
			peer_end(&children[child]);
		}
		bear(child, round);
	}
}

static void kill_middle(void)
{
	if (kill(orphan.pid, SIGKILL) || waitpid(orphan.pid, NULL, 0) != orphan.pid)
		exit(pr_perror("Can't kill the orphan's parent"));
	orphan.pid = *orphan_pid;
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	orphan_pid = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (orphan_pid == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return pr_perror("Can't prepare for an orphan");
	model_map_private(&own);
	model_map_private(&orphans);
	model_map_private(&area);
	model_fill(&own, 0);
	for (unsigned int child = 0; child < CHILDREN; child++)
		bear(child, 0);
	if (!peer_fork_by(&orphan, fork_twice))
		peer_serve(&orphan, &orphans, 0);
	peer_await(&orphan, 0);

	test_daemon();
	while (rounds_next(&round)) {
		replace_children(round);
		if (round == ORPHAN_ROUND)
			kill_middle();
		peer_ask(&orphan, round);
		model_write(&own, round);
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check(&own, 0, round);
	wrong += model_check(&orphans, *orphan_pid, round);
	for (unsigned int child = 0; child < CHILDREN; child++) {
		unsigned int birth = birth_of(child, round);

		set_area(child, birth);
		wrong += model_check(&area, children[child].pid, round);
		/* Born before the parent wrote in that round. */
		wrong += model_check(&own, children[child].pid, birth ? birth - 1 : 0);
		peer_end(&children[child]);
	}
	return model_verdict(wrong, round);
}
