// SPDX-License-Identifier: GPL-2.0-only
/*
 * outline-PID.img of any content: it is refused, or it is areas that a landing can map, in order, whole pages, none of
 * them empty; and what is written again is read as the same.
 */
#include "fuzz.h"
#include "land/outline.h"

#define NAME "outline-7.img"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const int dir = fuzz_dir(), fds = open_fds();
	struct outline outline, again;
	uint64_t last = 0;

	fuzz_file(NAME, data, size);
	if (outline_load(dir, 7, &outline)) {
		MUST(!outline.v && !outline.nr && open_fds() == fds);
		return 0;
	}
	for (size_t i = 0; i < outline.nr; i++) {
		const struct pool_range *range = &outline.v[i];

		MUST(range->start >= last && range->start < range->end && !((range->start | range->end) % 4096));
		MUST(!(range->kind & ~(POOL_NORESERVE | POOL_HUGEPAGE)));
		last = range->end;
	}
	MUST(!unlinkat(dir, NAME, 0) && !outline_write(dir, 7, &outline));
	MUST(!outline_load(dir, 7, &again) && again.nr == outline.nr);
	for (size_t i = 0; i < outline.nr; i++)
		MUST(again.v[i].start == outline.v[i].start && again.v[i].end == outline.v[i].end &&
		     again.v[i].kind == outline.v[i].kind);
	outline_fini(&again);
	outline_fini(&outline);
	MUST(open_fds() == fds);
	return 0;
}
