// SPDX-License-Identifier: GPL-2.0-only
/*
 * Swapped memory: pages that go out clean or written, come back by being read or written, at once or a round later. The
 * swap is a zram device of the test's own, which track_swap.hook takes away again.
 */
#include <sys/swap.h>

#include "track.h"

const char *test_doc = "Pages that are swapped out and in between rounds";
const char *test_author = "criu-pagescan";

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { PAGES = 256, STEP = 32, SWAP_PAGES = 8192 };
enum { NOTHING, READ, WRITE, DROP };

static const struct {
	const char *name;
	bool once;  /* out at the start, and never again */
	int before; /* is done to the pages before they go out, */
	int after;  /* after that, */
	int later;  /* and a round later */
} kinds[] = {
	{ "stays out", .once = true },
	{ "out", .before = NOTHING },
	{ "written, out", .before = WRITE },
	{ "out, read", .after = READ },
	{ "out, written", .after = WRITE },
	{ "written, out, read", .before = WRITE, .after = READ },
	{ "out, dropped", .after = DROP },
	{ "out, read later", .later = READ },
	{ "written, out, read later", .before = WRITE, .later = READ },
	{ "out, written later", .later = WRITE },
	{ "out, dropped later", .later = DROP },
};

static struct pages areas[ARRAY_SIZE(kinds)];

static void advise(struct pages *p, int advice)
{
	if (madvise(p->mem, p->nr * page_size, advice))
		exit(pr_perror("madvise %d", advice));
}

static void treat(struct pages *p, int how)
{
	switch (how) {
	case READ:
		for (unsigned int i = 0; i < p->nr; i++)
			(void)*(volatile uint8_t *)(p->mem + i * page_size);
		break;
	case WRITE: /* every other page: neighbours come in together */
		for (unsigned int i = 0; i < p->nr; i += 2)
			page_write(p, i);
		break;
	case DROP:
		advise(p, MADV_DONTNEED);
		pages_expect(p, EXPECT_ZERO);
		break;
	}
}

static void act(unsigned int round)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pages now = pages_part(&areas[k], round * STEP % PAGES, STEP);
		struct pages last = pages_part(&areas[k], (round * STEP + PAGES - STEP) % PAGES, STEP);

		if (round)
			treat(&last, kinds[k].later);
		if (kinds[k].once)
			continue;
		treat(&now, kinds[k].before);
		advise(&now, MADV_PAGEOUT);
		treat(&now, kinds[k].after);
	}
}

static unsigned long swapped_kib(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "VmSwap: %lu", &kib) != 1)
		;
	if (f)
		fclose(f);
	return kib;
}

static bool write_text(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* As mkswap: one header page, which says in its end that it is one. */
static bool write_header(const char *device)
{
	cleanup_close int fd = open(device, O_WRONLY | O_CLOEXEC);
	cleanup_free uint32_t *header = calloc(1, page_size);

	header[256] = 1;	      /* version */
	header[257] = SWAP_PAGES - 1; /* last page */
	memcpy((uint8_t *)header + page_size - 10, "SWAPSPACE2", 10);
	return fd >= 0 && write(fd, header, page_size) == (ssize_t)page_size && !fsync(fd);
}

/* NULL, or what is missing. */
static const char *swap_on(void)
{
	cleanup_close int control = open("/sys/class/zram-control/hot_add", O_RDONLY | O_CLOEXEC);
	char number[16] = "", path[64], size[16];

	if (control < 0 || read(control, number, sizeof(number) - 1) <= 0)
		return "no zram";
	number[strcspn(number, "\n")] = '\0';
	if (!write_text("track_swap.zram", number))
		return "no place to remember the zram device";
	ssprintf(path, "/sys/block/zram%s/disksize", number);
	ssprintf(size, "%u", SWAP_PAGES * page_size);
	if (!write_text(path, size))
		return "cannot set up zram";
	ssprintf(path, "/dev/zram%s", number);
	if (!write_header(path))
		return "cannot write to zram";
	if (swapon(path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK))
		return "no swapon";
	return NULL;
}

int main(int argc, char **argv)
{
	const char *missing;

	test_init(argc, argv);
	model_init();
	missing = swap_on();
	if (missing) {
		skip("%s", missing);
		return 77;
	}
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		areas[k] = pages_map(PAGES);
		pages_write(&areas[k]);
	}
	advise(&areas[0], MADV_PAGEOUT);
	if (!swapped_kib()) {
		skip("MADV_PAGEOUT does not swap");
		return 77;
	}

	test_daemon();
	between_rounds(act);

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		if (pages_verify(&areas[k], kinds[k].name))
			return 1;
	pass();
	return 0;
}
