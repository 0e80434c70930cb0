// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages of hugetlbfs, private and shared, beside normal memory. CRIU leaves them out of pre-dumps and takes them
 * whole in the dump, whatever a tracker knows: one that calls them clean loses them.
 */
#include "track_model.h"

const char *test_doc = "hugetlb areas beside tracked memory";
const char *test_author = "criu-pagescan";

#define HUGE_PAGES 4 /* for each of the two areas */
/* CRIU needs free ones too: it maps one to learn their device number, and a shared area privately. */
#define RESERVE	     (3 * HUGE_PAGES + 1)
#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"

static struct model normal = { .name = "normal", .id = 1, .pages = 1024 };
static struct model private = { .name = "private hugetlb", .id = 2 };
static struct model shared = { .name = "shared hugetlb", .id = 3 };

static long read_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long number = -1;
	char line[256];

	while (f && number < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			number = strtol(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return number;
}

/* Relative, so that two tests that do this at a time do not take each other's. Returns how many more there are. */
static long reserve_more(long more)
{
	long before = read_number(NR_HUGEPAGES, "");
	FILE *f = fopen(NR_HUGEPAGES, "we");

	if (!f)
		return 0;
	fprintf(f, "%ld", before + more);
	fclose(f);
	return read_number(NR_HUGEPAGES, "") - before;
}

int main(int argc, char **argv)
{
	long size = read_number("/proc/meminfo", "Hugepagesize:") * 1024, reserved;
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	if (size <= 0 || size > 32 << 20) {
		skip("huge pages of at most 32 MiB");
		return 77;
	}
	reserved = reserve_more(RESERVE);
	if (reserved < RESERVE) {
		reserve_more(-reserved);
		skip("memory for %d huge pages, or the right to reserve them", RESERVE);
		return 77;
	}
	private.pages = shared.pages = HUGE_PAGES * size / PAGE_SIZE;
	model_map_private(&normal);
	model_map(&private, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_HUGETLB, -1);
	model_map(&shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_HUGETLB, -1);
	model_fill(&normal, 0);
	model_fill(&private, 0);
	model_fill(&shared, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&normal, round);
		model_write(&private, round);
		model_write(&shared, round);
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check(&normal, 0, round);
	wrong += model_check(&private, 0, round);
	wrong += model_check(&shared, 0, round);
	munmap(private.mem, HUGE_PAGES * size);
	munmap(shared.mem, HUGE_PAGES * size);
	reserve_more(-reserved);
	return model_verdict(wrong, round);
}
