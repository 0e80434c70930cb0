// SPDX-License-Identifier: GPL-2.0-only
/*
 * The flags of areas, which change between rounds without a change of the areas: after the restore each area has those
 * that it had last, whoever told CRIU about them.
 */
#include "track.h"

const char *test_doc = "Flags of areas that change between rounds";
const char *test_author = "criu-pagescan";

enum { PAGES = 8 };

/* What CRIU keeps of an area (criu/proc_parse.c, __parse_vmflags), but wf, which it lost up to 4.1. */
static const char *const asked[] = { "gd", "lo", "nr", "sr", "rr", "dc", "dd", "hg", "nh" };

/* In odd rounds the one advice is given, in even ones the other. MADV_NORMAL as both: none. */
static const struct {
	const char *name;
	int map;
	int odd, even;
} kinds[] = {
	{ "plain", MAP_PRIVATE, MADV_NORMAL, MADV_NORMAL },
	{ "growing downwards", MAP_PRIVATE | MAP_GROWSDOWN, MADV_NORMAL, MADV_NORMAL },
	{ "not reserved", MAP_PRIVATE | MAP_NORESERVE, MADV_NORMAL, MADV_NORMAL },
	{ "locked", MAP_PRIVATE | MAP_LOCKED, MADV_NORMAL, MADV_NORMAL },
	{ "sequential", MAP_PRIVATE, MADV_SEQUENTIAL, MADV_NORMAL },
	{ "random", MAP_PRIVATE, MADV_NORMAL, MADV_RANDOM },
	{ "not forked", MAP_PRIVATE, MADV_DONTFORK, MADV_DOFORK },
	{ "not dumped", MAP_PRIVATE, MADV_DODUMP, MADV_DONTDUMP },
	{ "huge or not", MAP_PRIVATE, MADV_HUGEPAGE, MADV_NOHUGEPAGE },
	{ "several", MAP_PRIVATE | MAP_NORESERVE, MADV_DONTDUMP, MADV_DONTFORK },
};

static struct pages areas[ARRAY_SIZE(kinds)];
static unsigned int expected[ARRAY_SIZE(kinds)]; /* bits: places in asked */

static unsigned int bits_of(const char *flags)
{
	unsigned int bits = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(asked); i++) {
		const char *at = strstr(flags, asked[i]);

		/* All are of two letters with a space between. */
		while (at && (at - flags) % 3)
			at = strstr(at + 1, asked[i]);
		bits |= at ? 1u << i : 0;
	}
	return bits;
}

static void read_flags(unsigned int found[ARRAY_SIZE(kinds)])
{
	static const char label[] = "VmFlags: ";
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, end = 0;
	char line[1024];

	if (!smaps)
		exit(pr_perror("smaps"));
	memset(found, 0xff, ARRAY_SIZE(kinds) * sizeof(*found));
	while (fgets(line, sizeof(line), smaps)) {
		if (strncmp(line, label, strlen(label))) {
			if (strchr("0123456789abcdef", *line) && sscanf(line, "%lx-%lx ", &start, &end) != 2)
				exit(pr_err("smaps: %s", line));
			continue;
		}
		for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
			unsigned long addr = (unsigned long)areas[k].mem;

			if (addr >= start && addr < end)
				found[k] = bits_of(line + strlen(label));
		}
	}
	fclose(smaps);
}

static void act(unsigned int round)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pages *p = &areas[k];

		/* A kernel without this advice leaves the test with what the others do. */
		if (madvise(p->mem, p->nr * page_size, round % 2 ? kinds[k].odd : kinds[k].even) && errno != EINVAL)
			exit(pr_perror("madvise: %s", kinds[k].name));
		page_write(p, round % PAGES);
	}
	read_flags(expected);
}

int main(int argc, char **argv)
{
	unsigned int found[ARRAY_SIZE(kinds)];
	int ret = 0;

	test_init(argc, argv);
	model_init();
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		areas[k] = pages_model(map_anon(PAGES, kinds[k].map), PAGES);
		pages_write(&areas[k]);
	}
	act(0);

	test_daemon();
	between_rounds(act);

	read_flags(found);
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(asked); i++) {
			if (!((found[k] ^ expected[k]) & 1u << i))
				continue;
			fail("%s: has %s%s, which it had %s", kinds[k].name, found[k] & 1u << i ? "" : "not ", asked[i],
			     found[k] & 1u << i ? "not" : "before");
			ret = 1;
		}
		ret |= pages_verify(&areas[k], kinds[k].name);
	}
	if (ret)
		return 1;
	pass();
	return 0;
}
