// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory written by children that share it for a moment, as those of vfork() do, before they exit or exec.
 */
#include <sched.h>

#include "track_model.h"

const char *test_doc = "tracked memory written by vfork children";
const char *test_author = "criu-pagescan";

static struct model area = { .name = "shared for a moment", .id = 1, .pages = 2048 };
static unsigned char stack[64 << 10] __attribute__((aligned(16)));

static int live(void *arg)
{
	const unsigned int *round = arg;

	model_write(&area, *round);
	if (*round % 2)
		execl("/proc/self/exe", "track_vfork", "--leave", NULL);
	_exit(*round % 2);
}

int main(int argc, char **argv)
{
	unsigned int round;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--leave"))
		return 0;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&area);
	model_fill(&area, 0);

	test_daemon();
	while (rounds_next(&round)) {
		pid_t pid = clone(live, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &round);

		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return pr_perror("The child failed");
		rounds_done();
	}

	round = rounds_last();
	return model_verdict(model_check(&area, 0, round), round);
}
