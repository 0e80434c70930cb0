// SPDX-License-Identifier: GPL-2.0-only
/*
 * Children that may not do what tracking needs: one under strict seccomp, which knows read, write and exit only; one
 * whose filter answers userfaultfd with EPERM, one whose filter kills for it, and one whose filter kills for everything
 * but read and write. Whether they can be tracked or not: they live on, and are whole.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "track_model.h"

const char *test_doc = "tasks under seccomp";
const char *test_author = "criu-pagescan";

#define LOAD_NUMBER  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, what)
/* If it is this call, the next instruction; else the one after it. */
#define IF_CALL(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1)

static struct sock_filter refuse[] = {
	LOAD_NUMBER,
	IF_CALL(SYS_userfaultfd),
	ANSWER(SECCOMP_RET_ERRNO | EPERM),
	ANSWER(SECCOMP_RET_ALLOW),
};

static struct sock_filter deadly[] = {
	LOAD_NUMBER,
	IF_CALL(SYS_userfaultfd),
	ANSWER(SECCOMP_RET_KILL_PROCESS),
	ANSWER(SECCOMP_RET_ALLOW),
};

static struct sock_filter narrow[] = {
	LOAD_NUMBER,	    IF_CALL(SYS_read),	       ANSWER(SECCOMP_RET_ALLOW),
	IF_CALL(SYS_write), ANSWER(SECCOMP_RET_ALLOW), ANSWER(SECCOMP_RET_KILL_PROCESS),
};

#define FILTER(f)                                   \
	{                                           \
		.len = ARRAY_SIZE(f), .filter = (f) \
	}

static struct {
	struct model area;
	struct sock_fprog filter; /* none: strict */
	struct peer peer;
} children[] = {
	{ .area = { .name = "strict", .id = 1, .pages = 512 } },
	{ .area = { .name = "refused", .id = 2, .pages = 512 }, .filter = FILTER(refuse) },
	{ .area = { .name = "deadly", .id = 3, .pages = 512 }, .filter = FILTER(deadly) },
	{ .area = { .name = "narrow", .id = 4, .pages = 512 }, .filter = FILTER(narrow) },
};

static void confine(const struct sock_fprog *filter)
{
	int err;

	if (filter->len)
		err = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter);
	else
		err = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	if (err) {
		pr_perror("seccomp");
		_exit(1);
	}
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		model_map_private(&children[i].area);
		if (!peer_fork(&children[i].peer)) {
			confine(&children[i].filter);
			peer_serve(&children[i].peer, &children[i].area, 0);
		}
		peer_await(&children[i].peer, 0);
	}

	test_daemon();
	while (rounds_next(&round)) {
		for (size_t i = 0; i < ARRAY_SIZE(children); i++)
			peer_ask(&children[i].peer, round);
		rounds_done();
	}

	round = rounds_last();
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		wrong += model_check(&children[i].area, children[i].peer.pid, round);
		/* Not before the check, as it writes. */
		peer_ask(&children[i].peer, round);
		peer_end(&children[i].peer);
	}
	return model_verdict(wrong, round);
}
