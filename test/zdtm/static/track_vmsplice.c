// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that lie in a pipe (vmsplice) while tracking goes on, and are rewritten there: the pipe refers to that very
 * page before and after it was write-protected and written again. The pipe is emptied into another area in every second
 * round, so what a pipe holds survives a dump, and what the kernel reads from it is tracked too.
 */
#include <sys/uio.h>

#include "track_model.h"

const char *test_doc = "tracked pages that are in a pipe";
const char *test_author = "criu-pagescan";

#define SPLICED 8 /* pages in the pipe; it holds 16 */

static struct model area = { .name = "source", .id = 1, .pages = 1024 };
static struct model copy = { .name = "emptied into", .id = 1, .pages = SPLICED };
static int fds[2];

static void splice_in(void)
{
	struct iovec pages = { area.mem, SPLICED * PAGE_SIZE };

	if (vmsplice(fds[1], &pages, 1, 0) != (ssize_t)(SPLICED * PAGE_SIZE)) {
		pr_perror("vmsplice");
		exit(1);
	}
}

static void empty(void)
{
	if (read(fds[0], copy.mem, SPLICED * PAGE_SIZE) != (ssize_t)(SPLICED * PAGE_SIZE)) {
		pr_perror("Can't empty the pipe");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	if (pipe(fds))
		return pr_perror("Can't make a pipe");
	model_map_private(&area);
	model_map_private(&copy);
	model_fill(&area, 0);
	splice_in();

	test_daemon();
	while (rounds_next(&round)) {
		if (round % 2 == 0) {
			empty();
			splice_in();
		}
		model_write(&area, round);
		rounds_done();
	}

	round = rounds_last();
	/* The copy was made before the writes of the last even round. */
	if (round >= 2)
		wrong += model_check(&copy, 0, (round & ~1) - 1);
	wrong += model_check(&area, 0, round);
	empty();
	wrong += model_check(&copy, 0, round);
	return model_verdict(wrong, round);
}
