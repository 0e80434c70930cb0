// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thousand small areas in a row, of one to four pages and of three protections in turn. To write in one, it is made
 * writable for that moment, which splits and joins areas on both sides: each round finds other bounds than
 * the one before for the same pages.
 */
#include "track_model.h"

const char *test_doc = "a thousand small areas with alternating protections";
const char *test_author = "criu-pagescan";

#define AREAS 1000

static const int protections[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };

static struct model all = { .name = "a thousand areas", .id = 1 };
static size_t first[AREAS + 1]; /* page of each area; the last is the end */

static void protect(unsigned int area, int protection)
{
	if (mprotect(model_addr(&all, first[area]), (first[area + 1] - first[area]) * PAGE_SIZE, protection)) {
		pr_perror("Can't protect area %u", area);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	unsigned int round;

	test_init(argc, argv);
	rounds_init();
	for (unsigned int area = 0; area < AREAS; area++)
		first[area + 1] = first[area] + 1 + area % 4;
	all.pages = first[AREAS];
	model_map_private(&all);
	model_fill(&all, 0);
	for (unsigned int area = 0; area < AREAS; area++)
		protect(area, protections[area % ARRAY_SIZE(protections)]);

	test_daemon();
	while (rounds_next(&round)) {
		for (unsigned int area = 0; area < AREAS; area++) {
			protect(area, PROT_READ | PROT_WRITE);
			for (size_t page = first[area]; page < first[area + 1]; page++)
				if (model_hit(&all, page, round))
					model_put(&all, page, round);
			protect(area, protections[area % ARRAY_SIZE(protections)]);
		}
		rounds_done();
	}

	round = rounds_last();
	return model_verdict(model_check(&all, getpid(), round), round);
}
