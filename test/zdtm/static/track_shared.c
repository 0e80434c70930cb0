// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared memory of every kind (anonymous, memfd, SysV) beside private memory, written between rounds by two processes;
 * and a private mapping of the memfd, some pages of which are copied in each round while the others go on following
 * the file. Shared pages are not tracked and may never be taken for clean; a page that turns from file to private
 * between two rounds is new.
 */
#include <sched.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "track_model.h"

const char *test_doc = "shared memory of every kind beside tracked private memory";
const char *test_author = "criu-pagescan";

#define PAGES 256

static struct model private = { .name = "private", .id = 1, .pages = 1024 };
static struct model child_private = { .name = "the child's private", .id = 2, .pages = 1024 };
static struct model anon = { .name = "shared anonymous", .id = 3, .pages = PAGES };
static struct model file = { .name = "memfd", .id = 4, .pages = PAGES };
static struct model sysv = { .name = "SysV", .id = 5, .pages = PAGES };
static struct model copied = { .name = "private of memfd", .id = 6, .pages = PAGES };
static const struct model *const shared[] = { &anon, &file, &sysv };

static void map_all(void)
{
	int id, memfd;

	memfd = memfd_create("track_shared", MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, PAGES * PAGE_SIZE)) {
		pr_perror("Can't make a memfd");
		exit(1);
	}
	model_map_private(&private);
	model_map_private(&child_private);
	model_map(&anon, PROT_READ | PROT_WRITE, MAP_SHARED, -1);
	model_map(&file, PROT_READ | PROT_WRITE, MAP_SHARED, memfd);
	model_map(&copied, PROT_READ | PROT_WRITE, MAP_PRIVATE, memfd);
	id = shmget(IPC_PRIVATE, PAGES * PAGE_SIZE, 0600);
	if (id >= 0)
		sysv.mem = shmat(id, NULL, 0);
	if (id < 0 || sysv.mem == (void *)-1 || shmctl(id, IPC_RMID, NULL)) {
		pr_perror("Can't make a SysV segment");
		exit(1);
	}
}

static void write_shared(unsigned int round)
{
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		model_write(shared[i], round);
}

/* The shared areas are written by the child in odd rounds, by the parent in even ones. */
static void serve(const struct peer *p)
{
	unsigned int round = 0;

	model_fill(&child_private, 0);
	while (peer_tell(p, round) && peer_hear(p, &round)) {
		model_write(&child_private, round);
		if (round % 2)
			write_shared(round);
	}
	_exit(0);
}

/* A page of the private mapping is the file's until the first round that writes it. */
static size_t check_copied(unsigned int round)
{
	size_t wrong = 0;

	for (size_t page = 0; page < PAGES; page++) {
		unsigned int own = model_generation(&copied, page, round);
		const struct model *m = own ? &copied : &file;

		wrong += model_differs(m, page, model_generation(m, page, round), model_addr(&copied, page), false);
	}
	return wrong;
}

int main(int argc, char **argv)
{
	struct peer child;
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	/* CRIU dumps SysV memory together with its namespace only. */
	if (unshare(CLONE_NEWIPC)) {
		skip("the right to make an IPC namespace");
		return 77;
	}
	map_all();
	model_fill(&private, 0);
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		model_fill(shared[i], 0);
	if (!peer_fork(&child))
		serve(&child);
	peer_await(&child, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&private, round);
		model_write(&copied, round);
		if (round % 2 == 0)
			write_shared(round);
		peer_ask(&child, round);
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check(&private, 0, round);
	wrong += model_check(&child_private, child.pid, round);
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		wrong += model_check(shared[i], 0, round);
		wrong += model_check(shared[i], child.pid, round);
	}
	wrong += check_copied(round);
	peer_end(&child);
	return model_verdict(wrong, round);
}
