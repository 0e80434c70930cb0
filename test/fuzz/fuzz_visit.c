// SPDX-License-Identifier: GPL-2.0-only
/*
 * An image that the report reads, of a kind that the first byte chooses, holds anything: it is refused, or what it
 * tells is in order. Whoever is told something may end the reading.
 */
#include <errno.h>

#include <pagescan.h>

#include "fuzz.h"
#include "image/visit.h"

#define PID 7

/* The reading is to end after so many things, with an error that no file makes. */
#define ENOUGH 100

struct seen {
	uint64_t end;
	unsigned int nr;
};

static int go_on(struct seen *seen)
{
	return ++seen->nr < ENOUGH ? 0 : -ECANCELED;
}

static int take_run(void *ctx, const struct visit_run *run)
{
	const uint64_t page = pagescan_page_size();
	struct seen *seen = ctx;

	MUST(seen->nr < ENOUGH && run->start >= seen->end && run->start < run->end);
	MUST(!(run->start % page) && !(run->end % page));
	seen->end = run->end;
	return go_on(seen);
}

static int take_area(void *ctx, const struct visit_area *area)
{
	struct seen *seen = ctx;

	MUST(seen->nr < ENOUGH && area->start < area->end);
	return go_on(seen);
}

static int take_file(void *ctx, uint32_t id, const char *path)
{
	struct seen *seen = ctx;

	(void)id;
	MUST(seen->nr < ENOUGH && strlen(path) < 4096);
	return go_on(seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "pagemap-7.img", "mm-7.img", "core-7.img", "files.img" };
	struct input input = { data, size };
	const int kind = take_byte(&input) % 4;
	struct seen seen = { 0 };
	char command[16];
	int err = 0, fds;

	fuzz_file(names[kind], input.at, input.len);
	fds = open_fds();
	if (kind == 0)
		err = image_visit_runs(fuzz_dir(), names[kind], take_run, &seen);
	else if (kind == 1)
		err = image_visit_areas(fuzz_dir(), PID, take_area, &seen);
	else if (kind == 2)
		err = image_visit_command(fuzz_dir(), PID, command);
	else
		err = image_visit_files(fuzz_dir(), take_file, &seen);
	MUST(err <= 0 && (err == -ECANCELED) == (seen.nr == ENOUGH));
	MUST(err != 0 || kind != 2 || memchr(command, 0, sizeof(command)));
	MUST(open_fds() == fds);
	return 0;
}
