// SPDX-License-Identifier: GPL-2.0-only
/*
 * Areas of the kinds that memory which is held ready for a restore has to be mapped as, and that change between two rounds:
 * with and without MAP_NORESERVE and MADV_HUGEPAGE, shorter and longer, moved, split by rights, dropped, replaced by
 * another kind. A child has copies of all of them and writes into some, another one has memory of its own.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "track.h"
#include "track_huge.h"

const char *test_doc = "Areas that change their kind between rounds";
const char *test_author = "criu-pagescan";

enum { PAGES = 48, NR_THREADS = 2, BLOCKS = 8, BLOCK = 60000 };
enum {
	PLAIN,
	NORESERVE,
	ADVISED, /* MADV_HUGEPAGE */
	ADVISED_NORESERVE,
	ADVISED_LATER,
	RESERVED_LATER, /* mapped again without MAP_NORESERVE where it was, every other round */
	FILE_LATER,	/* memory in odd rounds, a file in even ones */
	SHORTER,	/* by some pages each round */
	LONGER,
	MOVED,
	SPLIT,	   /* none, read-only, executable: parts of it */
	HIDDEN,	   /* written, then PROT_NONE, and readable again one round later */
	DROPPED,   /* MADV_DONTNEED */
	DOWNWARDS, /* MAP_GROWSDOWN */
	KINDS,
};
static const char *const names[KINDS] = {
	[PLAIN] = "plain",
	[NORESERVE] = "noreserve",
	[ADVISED] = "huge pages",
	[ADVISED_NORESERVE] = "huge pages, noreserve",
	[ADVISED_LATER] = "huge pages later",
	[RESERVED_LATER] = "reserved later",
	[FILE_LATER] = "file later",
	[SHORTER] = "shorter",
	[LONGER] = "longer",
	[MOVED] = "moved",
	[SPLIT] = "split",
	[HIDDEN] = "hidden",
	[DROPPED] = "dropped",
	[DOWNWARDS] = "growing downwards",
};

static struct pages kinds[KINDS];
static uint32_t file_generation[PAGES];
static uint32_t seed = 4;
static int fd;

static void protect(struct pages *p, unsigned int first, unsigned int nr, int prot)
{
	if (mprotect(p->mem + first * page_size, nr * page_size, prot))
		exit(pr_perror("mprotect"));
}

static void advise(struct pages *p, unsigned int first, unsigned int nr, int advice)
{
	if (madvise(p->mem + first * page_size, nr * page_size, advice))
		exit(pr_perror("madvise %d", advice));
}

static void expect_part(struct pages *p, unsigned int first, unsigned int nr, uint32_t what)
{
	struct pages part = pages_part(p, first, nr);

	pages_expect(&part, what);
}

static void replace(struct pages *p, int flags)
{
	map_anon_at(p->mem, p->nr, flags);
	pages_expect(p, EXPECT_ZERO);
	pages_write_random(p, PAGES / 2, &seed);
}

static void file_or_memory(struct pages *p, bool file)
{
	if (!file) {
		replace(p, 0);
		return;
	}
	if (mmap(p->mem, PAGES * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
		exit(pr_perror("mmap"));
	memcpy(p->expected, file_generation, sizeof(file_generation));
	pages_write_random(p, PAGES / 4, &seed);
}

/* Grows and shrinks as the place behind it allows: nothing else is there. */
static void resize(struct pages *p, unsigned int nr)
{
	if (mremap(p->mem, p->nr * page_size, nr * page_size, 0) != p->mem)
		exit(pr_perror("mremap to %u pages", nr));
	if (nr > p->nr) {
		expect_part(p, p->nr, nr - p->nr, EXPECT_ZERO);
		p->nr = nr;
		page_write(p, nr - 1);
	} else {
		expect_part(p, nr, p->nr - nr, EXPECT_FAULT);
		p->nr = nr;
	}
}

static void move(struct pages *p)
{
	uint8_t *to = map_anon(PAGES, 0);

	if (mremap(p->mem, PAGES * page_size, PAGES * page_size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		exit(pr_perror("mremap"));
	p->mem = to;
}

static void split(struct pages *p, unsigned int round)
{
	protect(p, 0, PAGES, PROT_READ | PROT_WRITE);
	pages_write_random(p, PAGES / 4, &seed);
	protect(p, round % 8, 8, PROT_NONE);
	protect(p, 16 + round % 8, 8, PROT_READ);
	protect(p, 32 + round % 8, 8, PROT_READ | PROT_EXEC);
}

static void act(unsigned int round)
{
	const bool odd = round % 2;

	for (int kind = PLAIN; kind <= ADVISED_LATER; kind++)
		pages_write_random(&kinds[kind], PAGES / 4, &seed);
	if (round == 1)
		advise(&kinds[ADVISED_LATER], 0, kinds[ADVISED_LATER].nr, MADV_HUGEPAGE);
	replace(&kinds[RESERVED_LATER], odd ? 0 : MAP_NORESERVE);
	file_or_memory(&kinds[FILE_LATER], !odd);
	if (kinds[SHORTER].nr > 8)
		resize(&kinds[SHORTER], kinds[SHORTER].nr - 5);
	if (kinds[LONGER].nr < PAGES)
		resize(&kinds[LONGER], kinds[LONGER].nr + 5);
	move(&kinds[MOVED]);
	page_write(&kinds[MOVED], round % PAGES);
	split(&kinds[SPLIT], round);
	protect(&kinds[HIDDEN], 0, PAGES, PROT_READ | PROT_WRITE);
	if (odd) {
		pages_write(&kinds[HIDDEN]);
		protect(&kinds[HIDDEN], 0, PAGES, PROT_NONE);
	}
	advise(&kinds[DROPPED], round % 16, 16, MADV_DONTNEED);
	expect_part(&kinds[DROPPED], round % 16, 16, EXPECT_ZERO);
	pages_write_random(&kinds[DOWNWARDS], 4, &seed);
}

static void make_file(void)
{
	struct pages *p = &kinds[FILE_LATER];
	char name[256];

	ssprintf(name, "%s.file", program_invocation_short_name);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	pages_write(p);
	if (fd < 0 || write(fd, p->mem, PAGES * page_size) != (ssize_t)(PAGES * page_size))
		exit(pr_perror("%s", name));
	memcpy(file_generation, p->expected, sizeof(file_generation));
}

/* Each stands alone, with room for it to be one whole huge page or more where it is to have some. */
static void make_kind(int kind)
{
	static const int flags[KINDS] = {
		[NORESERVE] = MAP_NORESERVE,
		[ADVISED_NORESERVE] = MAP_NORESERVE,
		[DOWNWARDS] = MAP_GROWSDOWN,
	};
	const bool huge = kind >= ADVISED && kind <= ADVISED_LATER;
	const size_t size = huge ? huge_page_size() : PAGES * page_size;
	uint8_t *mem = map_anon(2 * size / page_size, 0);

	if (munmap(mem, 2 * size))
		exit(pr_perror("munmap"));
	mem += huge ? -(uintptr_t)mem % size : 0;
	map_anon_at(mem, size / page_size, flags[kind]);
	kinds[kind] = pages_model(mem, size / page_size);
	if (kind == ADVISED || kind == ADVISED_NORESERVE)
		advise(&kinds[kind], 0, size / page_size, MADV_HUGEPAGE);
	if (kind != LONGER)
		pages_write(&kinds[kind]);
}

static void verify_all(struct pages *all, const char *who)
{
	for (int kind = 0; kind < KINDS; kind++) {
		char name[64];

		ssprintf(name, "%s: %s", who, names[kind]);
		if (kind == SPLIT || kind == HIDDEN)
			protect(&all[kind], 0, PAGES, PROT_READ | PROT_WRITE);
		if (pages_verify(&all[kind], name))
			_exit(1);
	}
}

/* It goes on writing: into copies of what its parent has, or into memory of its own. */
static pid_t make_child(bool copies)
{
	struct pages mine[KINDS];
	pid_t pid;

	for (int kind = 0; kind < KINDS; kind++)
		mine[kind] = pages_fork(&kinds[kind]);
	pid = test_fork();
	if (pid < 0)
		exit(pr_perror("fork"));
	if (pid)
		return pid;
	if (!copies) {
		mine[PLAIN] = pages_map(PAGES);
		mine[NORESERVE] = pages_model(map_anon(PAGES, MAP_NORESERVE), PAGES);
	}
	while (test_go()) {
		pages_write_random(&mine[PLAIN], 1, &seed);
		pages_write_random(&mine[NORESERVE], 1, &seed);
		usleep(10000);
	}
	verify_all(mine, "a child");
	_exit(0);
}

static void *use_arena(void *number)
{
	uint8_t *blocks[BLOCKS] = { NULL }, bytes[BLOCKS] = { 0 };

	for (unsigned int turn = (uintptr_t)number; test_go(); turn++) {
		const unsigned int i = turn % BLOCKS;

		for (unsigned int at = 0; blocks[i] && at < BLOCK; at++)
			if (blocks[i][at] != bytes[i])
				exit(fail("a block of a thread's arena has changed"));
		free(blocks[i]);
		blocks[i] = malloc(BLOCK);
		if (!blocks[i])
			exit(pr_perror("malloc"));
		bytes[i] = turn;
		memset(blocks[i], bytes[i], BLOCK);
		usleep(5000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[NR_THREADS];
	pid_t children[2];
	int status;

	test_init(argc, argv);
	model_init();
	for (int kind = 0; kind < KINDS; kind++)
		make_kind(kind);
	make_file();
	resize(&kinds[LONGER], PAGES / 4);
	for (int i = 0; i < 2; i++)
		children[i] = make_child(i);
	for (intptr_t i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, use_arena, (void *)i))
			exit(pr_perror("thread"));

	test_daemon();
	between_rounds(act);

	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 2; i++) {
		kill(children[i], SIGTERM);
		if (waitpid(children[i], &status, 0) != children[i] || status) {
			fail("a child ended with status %#x", status);
			return 1;
		}
	}
	verify_all(kinds, "the parent");
	pass();
	return 0;
}
