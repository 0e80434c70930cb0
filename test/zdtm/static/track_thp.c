// SPDX-License-Identifier: GPL-2.0-only
/* Huge pages: a few random writes of a page between two rounds must cost a few pages, not a huge one each. */
#include "track.h"
#include "track_huge.h"

const char *test_doc = "Writes into transparent huge pages are tracked by small page";
const char *test_author = "criu-pagescan";

enum { HUGE_PAGES = 16, WRITES = 64 };

static struct pages mem;
static uint32_t seed = 2;

static void act(unsigned int round)
{
	(void)round;
	pages_write_random(&mem, WRITES, &seed);
}

static unsigned long huge_kib(void)
{
	unsigned long kib, sum = 0;
	char line[256];
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		exit(pr_perror("smaps"));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			sum += kib;
	fclose(f);
	return sum;
}

int main(int argc, char **argv)
{
	const size_t huge = huge_page_size(), size = HUGE_PAGES * huge;
	uint8_t *area;

	test_init(argc, argv);
	model_init();
	area = map_anon((size + huge) / page_size, 0);
	area += -(uintptr_t)area % huge;
	mem = pages_model(area, size / page_size);
	madvise(area, size, MADV_HUGEPAGE);
	pages_write(&mem);
	if (huge_kib() < size / 1024 / 2) {
		skip("no transparent huge pages");
		return 77;
	}

	test_daemon();
	between_rounds(act);

	if (pages_verify(&mem, "huge pages"))
		return 1;
	pass();
	return 0;
}
