// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protections that change between rounds, with and without writes in between. Rounds meet memory that cannot be read
 * (which a pre-dump in read mode leaves out), and memory that has been unreadable in the round before.
 */
#include "track.h"

const char *test_doc = "mprotect() back and forth between rounds";
const char *test_author = "criu-pagescan";

enum {
	UNREADABLE,
	UNREADABLE_WRITTEN,
	HALF,
	ALTERNATING,
	ALTERNATING_WRITTEN,
	READ_ONLY,
	READ_ONLY_WRITTEN,
	BACKDOOR,
	KINDS
};
static const char *const names[KINDS] = {
	"never readable again",		 "written while readable within a round",
	"half of it unreadable",	 "alternating",
	"alternating, written",		 "read-only",
	"read-only, written in between", "written through /proc/self/mem",
};
enum { PAGES = 64, RW = PROT_READ | PROT_WRITE };

static struct pages kinds[KINDS];
static uint32_t seed = 6;

static void protect(struct pages *p, int prot)
{
	if (mprotect(p->mem, p->nr * page_size, prot))
		exit(pr_perror("mprotect %#x", prot));
}

static void write_some(int kind)
{
	pages_write_random(&kinds[kind], PAGES / 8, &seed);
}

/* The kernel writes for a debugger whatever the protection says. */
static void write_by_backdoor(struct pages *p)
{
	cleanup_close int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	cleanup_free void *page = malloc(page_size);
	unsigned int i = pages_random(p->nr, &seed);

	page_fill(page, p->id + i, page_renew(p, i));
	if (pwrite(fd, page, page_size, (uintptr_t)p->mem + i * page_size) != (ssize_t)page_size)
		exit(pr_perror("/proc/self/mem"));
}

static void act(unsigned int round)
{
	const bool odd = round % 2;
	struct pages half;

	protect(&kinds[UNREADABLE], PROT_NONE);

	protect(&kinds[UNREADABLE_WRITTEN], RW);
	write_some(UNREADABLE_WRITTEN);
	protect(&kinds[UNREADABLE_WRITTEN], PROT_NONE);

	/* Another half each time: areas split and merge. */
	protect(&kinds[HALF], RW);
	write_some(HALF);
	half = pages_part(&kinds[HALF], odd * PAGES / 2, PAGES / 2);
	protect(&half, PROT_NONE);

	protect(&kinds[ALTERNATING], odd ? RW : PROT_NONE);

	protect(&kinds[ALTERNATING_WRITTEN], RW);
	write_some(ALTERNATING_WRITTEN);
	protect(&kinds[ALTERNATING_WRITTEN], odd ? RW : PROT_NONE);

	protect(&kinds[READ_ONLY], odd ? RW : PROT_READ);

	protect(&kinds[READ_ONLY_WRITTEN], RW);
	write_some(READ_ONLY_WRITTEN);
	protect(&kinds[READ_ONLY_WRITTEN], PROT_READ);

	protect(&kinds[BACKDOOR], odd ? PROT_READ : PROT_NONE);
	write_by_backdoor(&kinds[BACKDOOR]);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	model_init();
	for (int kind = 0; kind < KINDS; kind++) {
		kinds[kind] = pages_map(PAGES);
		pages_write(&kinds[kind]);
	}

	test_daemon();
	between_rounds(act);

	for (int kind = 0; kind < KINDS; kind++) {
		protect(&kinds[kind], PROT_READ);
		if (pages_verify(&kinds[kind], names[kind]))
			return 1;
	}
	pass();
	return 0;
}
