// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task that has hardly a descriptor left. CRIU 4.1.1 itself needs three for its parasite (with none it can't dump the
 * task, and with one or two it kills it), so these three are free, and one more would be too many: whoever wants
 * a descriptor inside the task must have closed it again when CRIU comes.
 */
#include <sys/resource.h>

#include "track_model.h"

const char *test_doc = "a task with hardly a free descriptor";
const char *test_author = "criu-pagescan";

#define LIMIT 64
#define FREE  3

static struct model own = { .name = "the parent's", .id = 1, .pages = 1024 };
static struct model area = { .name = "the child's", .id = 2, .pages = 1024 };

static void use_up_descriptors(void)
{
	const struct rlimit limit = { LIMIT, LIMIT };
	int fd, last = -1;

	if (setrlimit(RLIMIT_NOFILE, &limit)) {
		pr_perror("Can't limit descriptors");
		_exit(1);
	}
	while ((fd = dup(STDIN_FILENO)) >= 0)
		last = fd;
	for (int i = 0; i < FREE; i++)
		close(last - i);
}

int main(int argc, char **argv)
{
	struct peer child;
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&own);
	model_map_private(&area);
	model_fill(&own, 0);
	if (!peer_fork(&child)) {
		use_up_descriptors();
		peer_serve(&child, &area, 0);
	}
	peer_await(&child, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&own, round);
		peer_ask(&child, round);
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check(&own, 0, round);
	wrong += model_check(&area, child.pid, round);
	peer_end(&child);
	return model_verdict(wrong, round);
}
