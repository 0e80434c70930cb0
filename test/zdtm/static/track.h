/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that knows what it must hold, for tests of memory tracking.
 *
 * Every write fills a page with bytes that follow from the page's number and a generation that no other write has, so
 * that a page which comes back from an older round never passes. The expected generations are the model. It lies in a
 * shared mapping of a file, which no dump contains: a task whose memory is set back to an older round as a whole, model
 * and all, would find everything in order.
 *
 * A test sets up areas with pages_model(), changes them with page_write() or tells with pages_expect() what became of
 * them, and ends with pages_verify().
 */
#ifndef TRACK_H
#define TRACK_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "zdtmtst.h"

/* What a page must hold other than a generation of page_write()'s. */
enum {
	EXPECT_ZERO = 0,
	EXPECT_FAULT = INT32_MAX, /* nothing: reading it fails */
};
#define EXPECT_OR_ZERO 0x80000000u /* added to a generation: the kernel may have taken the page */

#define MODEL_PAGES 65536

struct pages {
	uint8_t *mem;
	unsigned int nr;
	unsigned int id;    /* of the first page */
	uint32_t *expected; /* in the model */
};

static struct {
	unsigned int last_generation;
	unsigned int used;
	uint32_t expected[MODEL_PAGES];
} * model;

static unsigned int page_size;

/* In a program that a test becomes by exec. */
static inline void model_open(int flags)
{
	char name[256];
	int fd;

	page_size = PAGE_SIZE;
	ssprintf(name, "%s.model", program_invocation_short_name);
	fd = open(name, O_RDWR | flags, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*model)))
		exit(pr_perror("%s", name));
	model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (model == MAP_FAILED)
		exit(pr_perror("map %s", name));
	close(fd);
}

/* After test_init(), before anything else of this file. */
static inline void model_init(void)
{
	model_open(O_CREAT | O_TRUNC);
}

/* An area of fresh, zero memory. */
static inline struct pages pages_model(void *mem, unsigned int nr)
{
	unsigned int id = __atomic_fetch_add(&model->used, nr, __ATOMIC_SEQ_CST);

	if (id + nr > MODEL_PAGES)
		exit(pr_err("the model is too small\n"));
	return (struct pages){ .mem = mem, .nr = nr, .id = id, .expected = model->expected + id };
}

/* For a child about to be forked, which from now on has expectations of its own. */
static inline struct pages pages_fork(const struct pages *p)
{
	struct pages child = pages_model(p->mem, p->nr);

	child.id = p->id;
	memcpy(child.expected, p->expected, p->nr * sizeof(*p->expected));
	return child;
}

/* mmap() or die. */
static inline void *map_anon_at(void *where, size_t nr, int flags)
{
	void *mem;

	flags |= MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED : 0);
	mem = mmap(where, nr * page_size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (mem == MAP_FAILED)
		exit(pr_perror("mmap %zu pages", nr));
	return mem;
}

static inline void *map_anon(size_t nr, int flags)
{
	return map_anon_at(NULL, nr, flags);
}

static inline struct pages pages_map(unsigned int nr)
{
	return pages_model(map_anon(nr, 0), nr);
}

/* The pages [first, first + nr) as an area. */
static inline struct pages pages_part(const struct pages *p, unsigned int first, unsigned int nr)
{
	return (struct pages){ p->mem + (size_t)first * page_size, nr, p->id + first, p->expected + first };
}

static inline uint64_t page_word(unsigned int id, uint32_t generation, unsigned int word)
{
	uint64_t x = (uint64_t)id << 32 | generation;

	/* The first word names the page for whoever looks into a dump; the others have nothing of it in common. */
	if (!word)
		return x;
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
	return (x ^ x >> 29) + word * 0xd6e8feb86659fd93ull;
}

static inline void page_fill(void *page, unsigned int id, uint32_t generation)
{
	uint64_t *words = page;

	for (unsigned int i = 0; i < page_size / sizeof(*words); i++)
		words[i] = page_word(id, generation, i);
}

/* Expect a new generation, and tell which. */
static inline uint32_t page_renew(struct pages *p, unsigned int i)
{
	return p->expected[i] = __atomic_add_fetch(&model->last_generation, 1, __ATOMIC_SEQ_CST);
}

static inline void page_write(struct pages *p, unsigned int i)
{
	page_fill(p->mem + (size_t)i * page_size, p->id + i, page_renew(p, i));
}

static inline void pages_write(struct pages *p)
{
	for (unsigned int i = 0; i < p->nr; i++)
		page_write(p, i);
}

static inline unsigned int pages_random(unsigned int limit, uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed % limit;
}

static inline void pages_write_random(struct pages *p, unsigned int count, uint32_t *seed)
{
	while (count--)
		page_write(p, pages_random(p->nr, seed));
}

static inline void pages_expect(struct pages *p, uint32_t what)
{
	for (unsigned int i = 0; i < p->nr; i++)
		p->expected[i] = what;
}

static inline void pages_expect_or_zero(struct pages *p)
{
	for (unsigned int i = 0; i < p->nr; i++)
		p->expected[i] |= EXPECT_OR_ZERO;
}

static inline bool page_holds(const uint64_t *words, unsigned int id, uint32_t generation)
{
	for (unsigned int i = 0; i < page_size / sizeof(*words); i++)
		if (words[i] != (generation ? page_word(id, generation, i) : 0))
			return false;
	return true;
}

/* 0, or -1 and a word in the log for the first pages that are not as they must be. */
static inline int pages_verify(const struct pages *p, const char *name)
{
	cleanup_free uint64_t *copy = malloc(page_size);
	unsigned int bad = 0;

	for (unsigned int i = 0; i < p->nr; i++) {
		struct iovec to = { copy, page_size }, from = { p->mem + (size_t)i * page_size, page_size };
		uint32_t expected = p->expected[i];
		/* Copied by the kernel, because a wrong page may be one that kills its reader. */
		bool readable = process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)page_size;
		bool good;

		if (expected == EXPECT_FAULT || !readable)
			good = expected == EXPECT_FAULT && !readable;
		else
			good = page_holds(copy, p->id + i, expected & ~EXPECT_OR_ZERO) ||
			       (expected & EXPECT_OR_ZERO && page_holds(copy, 0, 0));
		if (!good && ++bad <= 3)
			pr_err("%s: page %u at %p must be %#x:%#x, but %s %#llx\n", name, i, from.iov_base, p->id + i,
			       expected, readable ? "begins with" : "cannot be read",
			       readable ? (unsigned long long)*copy : 0);
	}
	if (!bad)
		return 0;
	errno = 0;
	fail("%s: %u of %u pages are wrong", name, bad, p->nr);
	return -1;
}

/* For tests with pre-dump-notify: act() after each round, until SIGTERM. */
static inline void between_rounds(void (*act)(unsigned int round))
{
	for (unsigned int round = 0; test_go() && !test_wait_pre_dump(); round++) {
		act(round);
		test_wait_pre_dump_ack();
	}
	test_waitsig();
}

#endif
