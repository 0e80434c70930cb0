// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that the kernel merges because they are alike, and parts again when one is written. Merging replaces a page
 * under the tracker's eyes; what is written to it afterwards goes to a fresh copy.
 */
#include "track_model.h"

const char *test_doc = "pages merged by KSM";
const char *test_author = "criu-pagescan";

#define KSM	    "/sys/kernel/mm/ksm/"
#define PATIENCE_MS 5000

static struct model area = { .name = "merged", .id = 1, .pages = 1024, .alike = 4 };
static struct model own = { .name = "not merged", .id = 2, .pages = 1024 };
static struct {
	const char *path, *value;
	char before[32];
} settings[] = {
	{ KSM "pages_to_scan", "4096", "" },
	{ KSM "sleep_millisecs", "10", "" },
	{ KSM "run", "1", "" },
};

static long read_setting(const char *path, char *text, int size)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	if (!fgets(text, size, f))
		*text = '\0';
	fclose(f);
	return strtol(text, NULL, 10);
}

static bool write_setting(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	return f && fputs(text, f) >= 0 && !fclose(f);
}

static bool switch_on(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (read_setting(settings[i].path, settings[i].before, sizeof(settings[i].before)) < 0 ||
		    !write_setting(settings[i].path, settings[i].value))
			return false;
	return true;
}

static void put_back(void)
{
	for (size_t i = ARRAY_SIZE(settings); i-- > 0;)
		if (*settings[i].before)
			write_setting(settings[i].path, settings[i].before);
}

/* There are at most so many pages apart as there are contents: the others are merged after a while. */
static bool wait_merged(void)
{
	char text[32];

	for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
		if (read_setting("/proc/self/ksm_merging_pages", text, sizeof(text)) > (long)area.pages * 9 / 10)
			return true;
		usleep(10000);
	}
	return false;
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&area);
	model_map_private(&own);
	model_fill(&area, 0);
	model_fill(&own, 0);
	if (madvise(area.mem, area.pages * PAGE_SIZE, MADV_MERGEABLE) || !switch_on() || !wait_merged()) {
		put_back();
		skip("KSM, or the right to switch it on");
		return 77;
	}

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&area, round);
		model_write(&own, round);
		if (!wait_merged())
			test_msg("Round %u: the kernel has not merged all pages\n", round);
		rounds_done();
	}

	round = rounds_last();
	wrong = model_check(&area, 0, round);
	wrong += model_check(&own, 0, round);
	put_back();
	return model_verdict(wrong, round);
}
