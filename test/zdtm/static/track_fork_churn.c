// SPDX-License-Identifier: GPL-2.0-only
/* A task that forks without a pause, while its children and itself write into the pages that they share. */
#include <sys/wait.h>

#include "track.h"

const char *test_doc = "Fork, write on both sides, exit, again and again, while being dumped";
const char *test_author = "criu-pagescan";

enum { PAGES = 2048, WRITES = 16 };

static struct pages mem, childs;
static uint32_t seed = 4;

static int child(void)
{
	pages_write_random(&childs, WRITES, &seed);
	usleep(2000);
	pages_write_random(&childs, WRITES, &seed);
	return pages_verify(&childs, "a child's copy");
}

int main(int argc, char **argv)
{
	int status = 0;

	test_init(argc, argv);
	model_init();
	mem = pages_map(PAGES);
	childs = pages_fork(&mem);
	pages_write(&mem);

	test_daemon();
	while (test_go() && !status) {
		pid_t pid;

		/* Each child finds its expectations in the place of the one before it. */
		memcpy(childs.expected, mem.expected, mem.nr * sizeof(*mem.expected));
		pid = test_fork();
		if (pid < 0)
			return pr_perror("fork");
		if (!pid)
			_exit(!!child());
		pages_write_random(&mem, WRITES, &seed);
		if (waitpid(pid, &status, 0) != pid)
			return pr_perror("wait");
	}

	if (pages_verify(&mem, "the parent's copy") || status)
		return fail("child's wait status %#x", status);
	pass();
	return 0;
}
