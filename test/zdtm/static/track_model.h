/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests that include this fill memory with, and how they know afterwards what must be there.
 *
 * The bytes of a page follow from (area, page, generation), and the generation from (page, round): there is no table of
 * expectations that could be just as stale as the pages it describes. The one number that must survive, how many
 * rounds there were, is the count of an eventfd: CRIU asks the kernel for it in every dump and never takes it from the
 * pages of a parent image. So even a process that is stale as a whole, and thus at one with itself, is found out.
 */
#ifndef TRACK_MODEL_H
#define TRACK_MODEL_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zdtmtst.h"

#define MODEL_COMPLAINTS 8	  /* wrong pages told one by one, for each area */
#define MODEL_PAGE_MAX	 65536	  /* the largest PAGE_SIZE of any architecture */
#define MODEL_ZERO	 UINT_MAX /* the generation of a page that must hold zeros */

struct model {
	const char *name;
	unsigned int id; /* no two areas of a test hold the same bytes */
	size_t pages;
	size_t stride; /* from one page to the next; 0: PAGE_SIZE */
	size_t alike;  /* so many different contents, repeated; 0: each page has its own */
	unsigned char *mem;
};

static inline uint64_t model_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static inline size_t model_stride(const struct model *m)
{
	return m->stride ? m->stride : PAGE_SIZE;
}

static inline unsigned char *model_addr(const struct model *m, size_t page)
{
	return m->mem + page * model_stride(m);
}

/* A quarter of the pages is written in a round, scattered. */
static inline bool model_hit(const struct model *m, size_t page, unsigned int round)
{
	return model_mix((uint64_t)m->id << 48 ^ (uint64_t)page << 24 ^ round) % 4 == 0;
}

/* The last round, up to this one, that wrote the page; 0 if none has since the area was filled. */
static inline unsigned int model_generation(const struct model *m, size_t page, unsigned int round)
{
	while (round && !model_hit(m, page, round))
		round--;
	return round;
}

/* The first word of a page names it, so that a stale page says from when it is. */
static inline void model_make(const struct model *m, size_t page, unsigned int generation, void *to)
{
	uint64_t number = m->alike ? page % m->alike : page;
	uint64_t head = (uint64_t)m->id << 48 | number << 24 | generation, seed = model_mix(head);
	uint64_t *word = to;

	if (generation == MODEL_ZERO) {
		memset(to, 0, PAGE_SIZE);
		return;
	}
	word[0] = head;
	for (size_t i = 1; i < PAGE_SIZE / sizeof(*word); i++)
		word[i] = seed + i * 0x9e3779b97f4a7c15;
}

static inline void model_put(const struct model *m, size_t page, unsigned int generation)
{
	model_make(m, page, generation, model_addr(m, page));
}

static inline void model_fill(const struct model *m, unsigned int round)
{
	for (size_t page = 0; page < m->pages; page++)
		model_put(m, page, model_generation(m, page, round));
}

static inline void model_write(const struct model *m, unsigned int round)
{
	for (size_t page = 0; page < m->pages; page++)
		if (model_hit(m, page, round))
			model_put(m, page, round);
}

/* At m->mem, if that is set; anonymous, if there is no descriptor. */
static inline void model_map(struct model *m, int prot, int flags, int fd)
{
	size_t size = (m->pages - 1) * model_stride(m) + PAGE_SIZE;

	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	m->mem = mmap(m->mem, size, prot, flags, fd, 0);
	if (m->mem == MAP_FAILED) {
		pr_perror("Can't map %zu bytes for %s", size, m->name);
		exit(1);
	}
}

static inline void model_map_private(struct model *m)
{
	model_map(m, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1);
}

/* True, and a message, if this is not what the page must hold. */
static inline bool model_differs(const struct model *m, size_t page, unsigned int generation, const void *found,
				 bool quiet)
{
	unsigned char want[MODEL_PAGE_MAX] __attribute__((aligned(8)));
	const unsigned char *got = found;
	uint64_t head, want_head;
	size_t at = 0;

	model_make(m, page, generation, want);
	if (!memcmp(want, got, PAGE_SIZE))
		return false;
	if (quiet)
		return true;
	while (want[at] == got[at])
		at++;
	memcpy(&head, got, sizeof(head));
	memcpy(&want_head, want, sizeof(want_head));
	pr_err("%s: page %zu at %p, from byte %zu on: generation %u (head %#llx), expected %u (head %#llx)\n", m->name,
	       page, model_addr(m, page), at, (unsigned int)(head & 0xffffff), (unsigned long long)head,
	       (unsigned int)(want_head & 0xffffff), (unsigned long long)want_head);
	return true;
}

static inline int model_open_mem(pid_t pid, int flags)
{
	char path[64];
	int mem;

	ssprintf(path, "/proc/%d/mem", pid);
	mem = open(path, flags | O_CLOEXEC);
	if (mem < 0) {
		pr_perror("Can't open %s", path);
		exit(1);
	}
	return mem;
}

/*
 * Compares an area of a task, page by page, with the generation that @expect says; @pid 0 is the caller, by its own
 * loads. Returns how many pages are wrong.
 */
static inline size_t model_check_by(const struct model *m, pid_t pid, unsigned int round,
				    unsigned int (*expect)(const struct model *m, size_t page, unsigned int round))
{
	unsigned char copy[MODEL_PAGE_MAX] __attribute__((aligned(8)));
	int mem = pid ? model_open_mem(pid, O_RDONLY) : -1;
	size_t wrong = 0;

	for (size_t page = 0; page < m->pages; page++) {
		const unsigned char *found = pid ? copy : model_addr(m, page);

		if (pid && pread(mem, copy, PAGE_SIZE, (uintptr_t)model_addr(m, page)) != (ssize_t)PAGE_SIZE) {
			pr_perror("%s: can't read page %zu at %p of %d", m->name, page, model_addr(m, page), pid);
			return m->pages;
		}
		wrong += model_differs(m, page, expect(m, page, round), found, wrong >= MODEL_COMPLAINTS);
	}
	if (wrong)
		pr_err("%s of %d: %zu of %zu pages are wrong\n", m->name, pid ? pid : getpid(), wrong, m->pages);
	if (pid)
		close(mem);
	return wrong;
}

static inline size_t model_check(const struct model *m, pid_t pid, unsigned int round)
{
	return model_check_by(m, pid, round, model_generation);
}

static inline unsigned int model_zero(const struct model *m, size_t page, unsigned int round)
{
	(void)m, (void)page, (void)round;
	return MODEL_ZERO;
}

static inline int model_verdict(size_t wrong, unsigned int rounds)
{
	if (wrong) {
		errno = 0;
		return fail("%zu pages are wrong after %u rounds", wrong, rounds);
	}
	pass();
	return 0;
}

/* Rounds: one begins when the runner tells of a pre-dump, and what it writes is written before the next one. */
static int rounds_fd = -1;

static inline void rounds_init(void)
{
	rounds_fd = eventfd(0, EFD_NONBLOCK);
	if (rounds_fd < 0) {
		pr_perror("Can't make an eventfd");
		exit(1);
	}
}

static inline unsigned int rounds_count(void)
{
	eventfd_t count = 0;

	if (eventfd_read(rounds_fd, &count) && errno == EAGAIN)
		return 0;
	/* Reading takes the count away. */
	if (!count || eventfd_write(rounds_fd, count)) {
		pr_perror("Can't count the rounds");
		exit(1);
	}
	return count;
}

/* False once there will be no more rounds, but a verification. */
static inline bool rounds_next(unsigned int *round)
{
	if (!test_go() || test_wait_pre_dump())
		return false;
	if (eventfd_write(rounds_fd, 1)) {
		pr_perror("Can't count a round");
		exit(1);
	}
	*round = rounds_count();
	return true;
}

static inline void rounds_done(void)
{
	if (test_wait_pre_dump_ack())
		exit(1);
}

/* Sleeps until it is time to verify; returns the number of rounds. */
static inline unsigned int rounds_last(void)
{
	test_waitsig();
	return rounds_count();
}

/* A child that does as it is told, one word at a time. */
struct peer {
	pid_t pid;
	int rx, tx;
};

/* As fork(), which another function may stand in for. */
static inline pid_t peer_fork_by(struct peer *p, pid_t (*do_fork)(void))
{
	int down[2], up[2];
	bool child;

	if (pipe(down) || pipe(up)) {
		pr_perror("Can't make a pipe");
		exit(1);
	}
	p->pid = do_fork();
	if (p->pid < 0) {
		pr_perror("Can't fork");
		exit(1);
	}
	child = !p->pid;
	p->rx = child ? down[0] : up[0];
	p->tx = child ? up[1] : down[1];
	close(child ? up[0] : down[0]);
	close(child ? down[1] : up[1]);
	return p->pid;
}

static inline pid_t peer_fork(struct peer *p)
{
	return peer_fork_by(p, fork);
}

static inline bool peer_hear(const struct peer *p, unsigned int *word)
{
	return read(p->rx, word, sizeof(*word)) == sizeof(*word);
}

static inline bool peer_tell(const struct peer *p, unsigned int word)
{
	return write(p->tx, &word, sizeof(word)) == sizeof(word);
}

/* The child's answer to a word is the same word; without it, the parent can't go on. */
static inline void peer_await(const struct peer *p, unsigned int word)
{
	unsigned int answer;

	if (!peer_hear(p, &answer) || answer != word) {
		pr_err("Child %d did not answer to %u\n", p->pid, word);
		exit(1);
	}
}

static inline void peer_ask(const struct peer *p, unsigned int word)
{
	if (!peer_tell(p, word)) {
		pr_perror("Can't tell child %d", p->pid);
		exit(1);
	}
	peer_await(p, word);
}

/* A child's life, from the round that it is born in: fill an area, write in it in each round. */
static inline void peer_serve(const struct peer *p, const struct model *m, unsigned int round)
{
	model_fill(m, round);
	while (peer_tell(p, round) && peer_hear(p, &round))
		model_write(m, round);
	_exit(0);
}

static inline void peer_reap(struct peer *p)
{
	if (waitpid(p->pid, NULL, 0) != p->pid) {
		pr_perror("Can't reap child %d", p->pid);
		exit(1);
	}
	close(p->rx);
	close(p->tx);
}

static inline void peer_end(struct peer *p)
{
	kill(p->pid, SIGKILL);
	peer_reap(p);
}

#endif
