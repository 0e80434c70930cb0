// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody else tracks the same memory in the same way: a process outside of the dumped tree holds a userfaultfd with
 * asynchronous write-protection of two areas, and protects all their pages again when they have just been written, so
 * that they look clean and are not. It lets go of one area in the second round; from then on that one
 * is anybody's.
 */
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "track_model.h"

const char *test_doc = "memory that is tracked by somebody else, too";
const char *test_author = "criu-pagescan";

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

#define RELEASE_ROUND 2

static struct model own = { .name = "not tracked by others", .id = 1, .pages = 1024 };
static struct model areas[] = {
	{ .name = "tracked by another", .id = 2, .pages = 512 },
	{ .name = "let go of", .id = 3, .pages = 512 },
};
static int uffds[ARRAY_SIZE(areas)];

/* A sibling of ours, so that it is not dumped. It ends when the other ends of its pipes are gone. */
static pid_t fork_sibling(void)
{
	return syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

static bool track(const struct model *m, int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC };
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)m->mem, .len = m->pages * PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	*uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	return *uffd >= 0 && !ioctl(*uffd, UFFDIO_API, &api) && !ioctl(*uffd, UFFDIO_REGISTER, &range);
}

static bool protect(const struct model *m, int uffd)
{
	struct uffdio_writeprotect all = {
		.range = { .start = (uintptr_t)m->mem, .len = m->pages * PAGE_SIZE },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	return !ioctl(uffd, UFFDIO_WRITEPROTECT, &all);
}

static void be_tracker(const struct peer *p)
{
	unsigned int round = 0;

	do {
		if (round == RELEASE_ROUND)
			close(uffds[1]);
		if (!protect(&areas[0], uffds[0]) || (round < RELEASE_ROUND && !protect(&areas[1], uffds[1]))) {
			pr_perror("The other tracker can't protect");
			break;
		}
	} while (peer_tell(p, round) && peer_hear(p, &round));
	_exit(0);
}

int main(int argc, char **argv)
{
	struct peer tracker;
	unsigned int round;
	size_t wrong;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&own);
	model_fill(&own, 0);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		model_map_private(&areas[i]);
		model_fill(&areas[i], 0);
		if (!track(&areas[i], &uffds[i])) {
			skip("userfaultfd with asynchronous write-protection");
			return 77;
		}
	}
	if (!peer_fork_by(&tracker, fork_sibling))
		be_tracker(&tracker);
	peer_await(&tracker, 0);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
		close(uffds[i]);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&own, round);
		for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
			model_write(&areas[i], round);
		peer_ask(&tracker, round);
		rounds_done();
	}

	round = rounds_last();
	wrong = model_check(&own, 0, round);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
		wrong += model_check(&areas[i], 0, round);
	return model_verdict(wrong, round);
}
