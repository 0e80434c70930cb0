// SPDX-License-Identifier: GPL-2.0-only
/*
 * ways.c - find pages as CRIU does: by reading pagemap, or by PAGEMAP_SCAN with its one mask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pages.h"

#define CRIU_WINDOW_GAP (CRIU_WINDOW / 4)

static inline void found_add(struct found *found, uint64_t start, uint64_t end, uint64_t categories)
{
	found->pages += (end - start) / PAGE;
	if (categories & PAGESCAN_SWAPPED)
		found->swapped += (end - start) / PAGE;
	if (found->keep && (pagescan_regions_add(&found->all, start, end, 0) ||
			    ((categories & PAGESCAN_SOFT_DIRTY) && pagescan_regions_add(&found->dirty, start, end, 0))))
		die("a list of pages");
}

void found_fini(struct found *found)
{
	pagescan_regions_fini(&found->all);
	pagescan_regions_fini(&found->dirty);
}

/*
 * A window as CRIU fills it: from the area's start to its end, or to the end of the 2 MiB that hold this and more
 * small areas (criu/pagemap-cache.c, pmc_fill_cache).
 */
static uint64_t window_end(const struct areas *areas, size_t at)
{
	const struct area *area = &areas->v[at];
	uint64_t low = area->start & ~(CRIU_WINDOW - 1), high = low + CRIU_WINDOW;

	if (area->end - area->start < CRIU_WINDOW && area->start - low < CRIU_WINDOW_GAP && at + 1 < areas->nr &&
	    areas->v[at + 1].end <= high)
		return high;
	return area->end;
}

bool is_asked(const struct area *area)
{
	return area->trackable;
}

void read_areas(struct task *task)
{
	areas_fini(&task->areas);
	if (areas_read(task->proc_dir, &task->areas))
		die("maps");
}

static void read_pagemap(const struct task *task, uint64_t start, uint64_t end)
{
	size_t size = (end - start) / PAGE * sizeof(*task->map);

	for (size_t at = 0; at < size;) {
		ssize_t got = pread(task->pagemap_fd, (char *)task->map + at, size - at,
				    (off_t)(start / PAGE * sizeof(*task->map) + at));

		if (got <= 0)
			die("pagemap");
		at += (size_t)got;
	}
}

/* As CRIU decides over an entry (criu/mem.c, should_dump_page). */
void pagemap_way(struct task *task, struct found *found)
{
	uint64_t start = 0, end = 0;

	read_areas(task);
	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];

		if (!is_asked(area))
			continue;
		if (start > area->start || end < area->end) {
			start = area->start;
			end = window_end(&task->areas, i);
			read_pagemap(task, start, end);
		}
		for (uint64_t addr = area->start; addr < area->end; addr += PAGE) {
			uint64_t pme = task->map[(addr - start) / PAGE];

			if ((pme & PME_GUARD) || (area->file && (pme & PME_FILE)) || !(pme & (PME_PRESENT | PME_SWAP)))
				continue;
			if ((pme & PME_PRESENT) && (pme & PME_FRAME_MASK) == task->zero_frame)
				continue;
			found_add(found, addr, addr + PAGE,
				  (pme & PME_SWAP ? PAGESCAN_SWAPPED : 0) |
					  (pme & PME_UFFD_WP ? 0 : PAGESCAN_SOFT_DIRTY));
		}
	}
}

/* CRIU's cache of regions: what is known of [start, end). */
struct window {
	uint64_t start;
	uint64_t end;
	int nr;
	int at;
};

static void fill_window(const struct task *task, const struct answerer *from, struct window *window, uint64_t start,
			uint64_t end)
{
	struct pagescan_ioctl_arg arg = snapshot_question(start, end, task->vec, CRIU_VEC_LEN);
	int nr;

	if (round_now.kernel.guard)
		arg.return_mask |= PAGESCAN_GUARD;
	nr = from->snapshot ? snapshot_scan(from->snapshot, &arg) : ioctl(from->pagemap_fd, PAGESCAN_IOCTL, &arg);
	if (nr < 0)
		die(from->snapshot ? "snapshot_scan" : "PAGEMAP_SCAN");
	*window = (struct window){ .start = start, .end = arg.walk_end, .nr = nr };
}

/* CRIU's way through its regions, by the region where it goes by the page (criu/mem.c, should_dump_page). */
void mask_way(const struct task *task, const struct answerer *from, struct found *found)
{
	struct window window = { 0 };

	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];
		uint64_t addr = area->start;

		if (!is_asked(area))
			continue;
		if (window.start > area->start || window.end < area->end)
			fill_window(task, from, &window, area->start, window_end(&task->areas, i));
		while (addr < area->end) {
			const struct pagescan_region *region;

			if (addr >= window.end)
				fill_window(task, from, &window, addr, area->end);
			while (window.at < window.nr && task->vec[window.at].end <= addr)
				window.at++;
			region = &task->vec[window.at];
			if (window.at == window.nr) {
				addr = window.end;
			} else if (region->start > addr) {
				addr = region->start;
			} else {
				uint64_t end = region->end < area->end ? region->end : area->end;

				if (!(region->categories & PAGESCAN_GUARD))
					found_add(found, addr, end, region->categories);
				addr = end;
			}
		}
	}
}

void criu_mask_way(struct task *task, struct found *found)
{
	read_areas(task);
	mask_way(task, &(struct answerer){ .pagemap_fd = task->pagemap_fd }, found);
}
