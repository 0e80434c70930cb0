// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stopped tasks (SIGSTOP). CRIU leaves them out of pre-dumps, so the images of such a round do not have them, while
 * those of an older round do: whatever was clean since then has no parent to be found in. One child is always
 * stopped, two by turns; each goes on between rounds, for as long as it takes to write.
 */
#include "track_model.h"

const char *test_doc = "tasks that are stopped in some rounds";
const char *test_author = "criu-pagescan";

static struct model own = { .name = "the parent's", .id = 1, .pages = 1024 };
static struct model areas[] = {
	{ .name = "of the child that is always stopped", .id = 2, .pages = 512 },
	{ .name = "of the child that is stopped in odd rounds", .id = 3, .pages = 512 },
	{ .name = "of the child that is stopped in even rounds", .id = 4, .pages = 512 },
};
static struct peer children[ARRAY_SIZE(areas)];

static bool stopped(size_t child, unsigned int round)
{
	return child == 0 || child % 2 == round % 2;
}

static void stop(pid_t pid)
{
	int status;

	if (kill(pid, SIGSTOP) || waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		exit(pr_perror("Can't stop %d", pid));
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&own);
	model_fill(&own, 0);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		model_map_private(&areas[i]);
		if (!peer_fork(&children[i]))
			peer_serve(&children[i], &areas[i], 0);
		peer_await(&children[i], 0);
		if (stopped(i, 0))
			stop(children[i].pid);
	}

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&own, round);
		for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
			if (kill(children[i].pid, SIGCONT))
				return pr_perror("Can't continue %d", children[i].pid);
			peer_ask(&children[i], round);
			if (stopped(i, round))
				stop(children[i].pid);
		}
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check(&own, 0, round);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		wrong += model_check(&areas[i], children[i].pid, round);
		peer_end(&children[i]);
	}
	return model_verdict(wrong, round);
}
