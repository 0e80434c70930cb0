// SPDX-License-Identifier: GPL-2.0-only
/*
 * snapshot.c - read each area once, by the cheapest questions that tell what CRIU needs, and answer from that.
 * Calls areas, query, walk, regions, the kernel. Changes nothing in the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot.h"

/*
 * Written regions that lie no further apart than this are looked at in one call: walking 64 entries costs about as
 * much as one more ioctl.
 */
#define SPAN_GAP_PAGES 64

#define POPULATED (PAGESCAN_PRESENT | PAGESCAN_SWAPPED)

/* The second field of statm, in pages (proc_pid_statm(5)); 0 if it cannot be read. */
static uint64_t read_resident(int proc_dir)
{
	char text[128];
	int fd = openat(proc_dir, "statm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	const char *second;

	if (fd >= 0)
		close(fd);
	text[len > 0 ? len : 0] = '\0';
	second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) * pagescan_page_size() : 0;
}

int snapshot_init(struct snapshot *snapshot, int proc_dir, const struct pagescan_kernel *kernel)
{
	int err;

	*snapshot = (struct snapshot){ .guard = kernel->guard, .holes_written = kernel->holes_written };
	snapshot->pagemap_fd = openat(proc_dir, "pagemap", O_RDONLY | O_CLOEXEC);
	if (snapshot->pagemap_fd < 0)
		return -errno;

	snapshot->resident = read_resident(proc_dir);
	err = areas_read(proc_dir, &snapshot->areas);
	if (err)
		snapshot_fini(snapshot);
	return err;
}

void snapshot_fini(struct snapshot *snapshot)
{
	if (snapshot->pagemap_fd >= 0)
		close(snapshot->pagemap_fd);
	snapshot->pagemap_fd = -1;
	areas_fini(&snapshot->areas);
}

static uint64_t populated_and_guard(const struct snapshot *snapshot)
{
	return POPULATED | (snapshot->guard ? PAGESCAN_GUARD : 0);
}

/*
 * A write-protect marker in an empty entry is told as swapped. The kernel leaves one where a protected page of a
 * file-backed area is dropped (mm/memory.c, zap_install_uffd_wp_if_needed); to CRIU it is absent memory. Markers have
 * the highest swap type (include/linux/swap.h, SWP_PTE_MARKER), which pagemap shows to CAP_SYS_ADMIN. To others the whole
 * entry reads as 0, which no page in swap has (its first slot is the swap's header): then it may be either, so that it is
 * there and written. What CRIU reads of a marker are the bytes of the file.
 */
static int add_unless_marker(struct snapshot *snapshot, const struct pagescan_region *region, uint64_t categories,
			     struct pagescan_regions *regions)
{
	const uint64_t page = pagescan_page_size();

	for (uint64_t addr = region->start; addr < region->end; addr += page) {
		uint64_t pme;
		int err;

		if (pread(snapshot->pagemap_fd, &pme, sizeof(pme), (off_t)(addr / page * sizeof(pme))) != sizeof(pme))
			return -EIO;
		if ((pme & PME_SWAP_TYPE_MASK) == PME_SWAP_TYPE_MASK)
			continue;
		err = pagescan_regions_add(regions, addr, addr + page,
					   pme & PME_FRAME_MASK ? categories : categories | PAGESCAN_SOFT_DIRTY);
		if (err)
			return err;
	}
	return 0;
}

/*
 * One full question. FILE makes the kernel touch every struct page, so it is asked only where a file is mapped.
 *
 * The kernel may put the zero page in place of a protected page that holds zeros (splitting a huge page,
 * try_to_map_unused_to_zeropage), and keeps it protected. The parent has that page, and the fast question tells it as
 * clean; so does this one, or a later round would look for it in images that left it out.
 *
 * Protection may outlive its registration: where the kernel moves a registered area (mremap) right beside another one
 * of the same userfaultfd, they become one, and all of that loses its registration, but only what was moved its
 * protection (fs/userfaultfd.c, mremap_userfaultfd_prep; seen on 6.18). Such a page is made writable by the next
 * write to it and goes on to look protected, for good: whoever registers it has to take that off first.
 */
static int read_whole(struct snapshot *snapshot, struct area *first, struct area *last,
		      struct pagescan_regions *regions)
{
	const bool zeros = !first->trusted || !first->file;
	const struct pagescan_query query = {
		.anyof = POPULATED,
		.excluded = (zeros ? 0 : PAGESCAN_PFNZERO) | (first->file ? PAGESCAN_FILE : 0),
		.returned = populated_and_guard(snapshot) | PAGESCAN_WRITTEN | (zeros ? PAGESCAN_PFNZERO : 0),
	};
	struct pagescan_regions found = { 0 };
	bool stale = false;
	int err = pagescan_walk(snapshot->pagemap_fd, first->start, last->end, &query, &found);

	for (size_t i = 0; !err && i < found.nr; i++) {
		const struct pagescan_region *region = &found.v[i];
		uint64_t categories = region->categories & populated_and_guard(snapshot);
		bool written = region->categories & PAGESCAN_WRITTEN;

		stale = stale || (!written && !first->trusted);
		if ((written || !first->trusted) && (region->categories & PAGESCAN_PFNZERO))
			continue;
		if (written || !first->trusted)
			categories |= PAGESCAN_SOFT_DIRTY;
		if (first->file && !written && (region->categories & PAGESCAN_SWAPPED))
			err = add_unless_marker(snapshot, region, categories, regions);
		else
			err = pagescan_regions_add(regions, region->start, region->end, categories);
	}
	for (struct area *area = first; area <= last; area++)
		area->stale = stale;
	pagescan_regions_fini(&found);
	return err;
}

static int add_clean(struct pagescan_regions *regions, uint64_t start, uint64_t end)
{
	return start < end ? pagescan_regions_add(regions, start, end, PAGESCAN_PRESENT) : 0;
}

/*
 * The second look, at a span of what is not protected: is there a page at all? What lies between two written regions
 * of the span is protected and so clean; a guard marker, an empty entry and the zero page are not protected.
 * Returns -EAGAIN if a page changed sides since the first look: nothing of the process runs, but the kernel may merge
 * pages (KSM), which makes them look written.
 */
static int read_span(struct snapshot *snapshot, const struct pagescan_region *written, size_t nr,
		     struct pagescan_regions *regions)
{
	const struct pagescan_query query = {
		.required = PAGESCAN_WRITTEN,
		.anyof = POPULATED,
		.excluded = PAGESCAN_PFNZERO,
		.returned = populated_and_guard(snapshot),
	};
	struct pagescan_regions found = { 0 };
	size_t at = 0;
	int err = pagescan_walk(snapshot->pagemap_fd, written[0].start, written[nr - 1].end, &query, &found);

	for (size_t i = 0; !err && i < nr; i++) {
		if (i)
			err = add_clean(regions, written[i - 1].end, written[i].start);
		for (; !err && at < found.nr && found.v[at].start < written[i].end; at++) {
			const struct pagescan_region *dirty = &found.v[at];

			if (dirty->start < written[i].start || dirty->end > written[i].end)
				err = -EAGAIN;
			else
				err = pagescan_regions_add(regions, dirty->start, dirty->end,
							   dirty->categories | PAGESCAN_SOFT_DIRTY);
		}
	}
	pagescan_regions_fini(&found);
	return err;
}

/*
 * In anonymous memory of ours, "written" alone has a fast path in the kernel (fs/proc/task_mmu.c), and its
 * complement within the areas is exactly what is protected: pages that are there and in the parent images. Anonymous
 * areas never hold markers, and the zero page is never protected. It takes a kernel that tells holes in the page
 * tables as written; with others they would pass for clean memory. What lies between areas is in the complement, too,
 * until the regions are handed out to the areas.
 */
static int read_tracked(struct snapshot *snapshot, uint64_t start, uint64_t end, struct pagescan_regions *regions)
{
	const struct pagescan_query query = { .required = PAGESCAN_WRITTEN, .returned = PAGESCAN_WRITTEN };
	const uint64_t gap = SPAN_GAP_PAGES * pagescan_page_size();
	struct pagescan_regions written = { 0 };
	int err = pagescan_walk(snapshot->pagemap_fd, start, end, &query, &written);

	for (size_t i = 0, nr; !err && i < written.nr; i += nr) {
		const struct pagescan_region *span = &written.v[i];

		for (nr = 1; i + nr < written.nr && span[nr].start - span[nr - 1].end <= gap; nr++)
			;
		err = add_clean(regions, start, span[0].start);
		if (!err)
			err = read_span(snapshot, span, nr, regions);
		start = span[nr - 1].end;
	}
	if (!err)
		err = add_clean(regions, start, end);
	pagescan_regions_fini(&written);
	return err;
}

/* Give each of the areas its part of the regions; a single one gets the list itself. */
static int hand_out(struct area *areas, size_t nr, struct pagescan_regions *regions)
{
	size_t at = 0;
	int err = 0;

	if (nr == 1) {
		areas->regions = *regions;
		*regions = (struct pagescan_regions){ 0 };
		return 0;
	}
	for (size_t i = 0; !err && i < nr; i++) {
		struct area *area = &areas[i];

		while (at < regions->nr && regions->v[at].end <= area->start)
			at++;
		for (size_t r = at; !err && r < regions->nr && regions->v[r].start < area->end; r++) {
			const struct pagescan_region *region = &regions->v[r];

			err = pagescan_regions_add(&area->regions,
						   region->start > area->start ? region->start : area->start,
						   region->end < area->end ? region->end : area->end,
						   region->categories);
		}
	}
	return err;
}

/*
 * Empty entries are "written", so in an area that is mostly empty the fast question is the slow one: the kernel hands
 * out what the full question skips. An area larger than all that the process has in memory is such an area.
 */
static bool fast_question(const struct snapshot *snapshot, const struct area *area)
{
	return area->trusted && !area->file && snapshot->holes_written && area->end - area->start <= snapshot->resident;
}

/* How many areas from @first on take the same question and have not been read: small neighbours share a call. */
static size_t same_question(const struct snapshot *snapshot, size_t first)
{
	const struct area *area = &snapshot->areas.v[first];
	size_t run = areas_run(&snapshot->areas, first);
	size_t nr = 1;

	while (nr < run && !area[nr].read && !area[nr].vdso && area[nr].file == area->file &&
	       area[nr].trusted == area->trusted)
		nr++;
	return nr;
}

static int read_areas(struct snapshot *snapshot, size_t first)
{
	struct area *area = &snapshot->areas.v[first];
	size_t nr = same_question(snapshot, first);
	struct pagescan_regions regions = { 0 };
	int err = -EAGAIN;

	if (fast_question(snapshot, area))
		err = read_tracked(snapshot, area->start, area[nr - 1].end, &regions);
	if (err == -EAGAIN) {
		pagescan_regions_fini(&regions);
		err = read_whole(snapshot, area, &area[nr - 1], &regions);
	}
	if (!err)
		err = hand_out(area, nr, &regions);
	pagescan_regions_fini(&regions);

	for (size_t i = 0; i < nr; i++) {
		area[i].read = !err;
		if (err)
			pagescan_regions_fini(&area[i].regions);
	}
	return err;
}

/*
 * CRIU wants to know about an area. It dumps all of the vdso, asking only whether the parent has it (criu/mem.c,
 * should_dump_entire_vma), and takes a page that nothing is said of for clean. After an exec the parent does not have
 * it, so it is told as written always.
 */
static int ask_area(struct snapshot *snapshot, size_t index)
{
	struct area *area = &snapshot->areas.v[index];
	int err = 0;

	if (area->vdso && !area->read) {
		err = pagescan_regions_add(&area->regions, area->start, area->end,
					   PAGESCAN_PRESENT | PAGESCAN_SOFT_DIRTY);
		area->read = !err;
	} else if (!area->read) {
		err = read_areas(snapshot, index);
	}
	area->asked = area->asked || !err;
	return err;
}

struct pagescan_ioctl_arg snapshot_question(uint64_t start, uint64_t end, struct pagescan_region *vec, size_t len)
{
	const uint64_t neither = PAGESCAN_PFNZERO | PAGESCAN_FILE;

	return (struct pagescan_ioctl_arg){ .size = sizeof(struct pagescan_ioctl_arg),
					    .start = start,
					    .end = end,
					    .vec = (uintptr_t)vec,
					    .vec_len = len,
					    .category_inverted = neither,
					    .category_mask = neither,
					    .category_anyof_mask = POPULATED,
					    .return_mask = POPULATED | PAGESCAN_SOFT_DIRTY };
}

/* The questions that the regions can answer: CRIU's masks, whatever of the regions' categories it wants back. */
static bool is_crius_question(const struct pagescan_ioctl_arg *arg)
{
	const struct pagescan_ioctl_arg crius = snapshot_question(arg->start, arg->end, NULL, arg->vec_len);

	return arg->size == crius.size && arg->flags == crius.flags && arg->max_pages == crius.max_pages &&
	       arg->vec_len && arg->category_inverted == crius.category_inverted &&
	       arg->category_mask == crius.category_mask && arg->category_anyof_mask == crius.category_anyof_mask &&
	       !(arg->return_mask & ~(crius.return_mask | PAGESCAN_GUARD));
}

/* The first region of @area that ends after @addr. */
static size_t find_region(const struct area *area, uint64_t addr)
{
	size_t low = 0, high = area->regions.nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (area->regions.v[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

int snapshot_scan(struct snapshot *snapshot, struct pagescan_ioctl_arg *arg)
{
	struct pagescan_region *vec = (struct pagescan_region *)(uintptr_t)arg->vec;
	size_t nr = 0;

	if (!is_crius_question(arg))
		return -EOPNOTSUPP;

	for (size_t i = areas_find(&snapshot->areas, arg->start); i < snapshot->areas.nr; i++) {
		struct area *area = &snapshot->areas.v[i];
		int err;

		if (area->start >= arg->end)
			break;
		err = ask_area(snapshot, i);
		if (err)
			return err;

		for (size_t r = find_region(area, arg->start); r < area->regions.nr; r++) {
			struct pagescan_region region = area->regions.v[r];

			if (region.start >= arg->end)
				break;
			region.start = region.start > arg->start ? region.start : arg->start;
			region.end = region.end < arg->end ? region.end : arg->end;
			region.categories &= arg->return_mask;

			if (nr && vec[nr - 1].end == region.start && vec[nr - 1].categories == region.categories) {
				vec[nr - 1].end = region.end;
			} else if (nr == arg->vec_len) {
				arg->walk_end = region.start;
				return (int)nr;
			} else {
				vec[nr++] = region;
			}
		}
	}
	arg->walk_end = arg->end;
	return (int)nr;
}

/*
 * The kernel's own bits, except: soft-dirty is the snapshot's; a protected swap entry that the snapshot does not
 * hold is a marker, which is absent memory; a page of the vdso that nobody has touched is there all the same.
 */
static uint64_t patch_entry(uint64_t pme, const struct pagescan_region *region)
{
	pme &= ~PME_SOFT_DIRTY;
	if (!region)
		return pme & PME_SWAP ? 0 : pme | PME_SOFT_DIRTY;
	if (!(pme & (PME_PRESENT | PME_SWAP)))
		pme |= PME_PRESENT;
	return region->categories & PAGESCAN_SOFT_DIRTY ? pme | PME_SOFT_DIRTY : pme;
}

int snapshot_patch(struct snapshot *snapshot, uint64_t first, uint64_t *pme, size_t nr)
{
	const uint64_t page = pagescan_page_size();
	size_t a = areas_find(&snapshot->areas, first * page);
	size_t r = 0;
	bool fresh = true;

	for (size_t i = 0; i < nr; i++) {
		uint64_t addr = (first + i) * page;
		const struct pagescan_region *region = NULL;
		struct area *area;

		while (a < snapshot->areas.nr && snapshot->areas.v[a].end <= addr) {
			a++;
			fresh = true;
		}
		area = a < snapshot->areas.nr ? &snapshot->areas.v[a] : NULL;
		if (!area || addr < area->start)
			continue; /* nothing is mapped: the entry is empty */

		if (fresh) {
			int err = ask_area(snapshot, a);

			if (err)
				return err;
			r = find_region(area, addr);
			fresh = false;
		}
		while (r < area->regions.nr && area->regions.v[r].end <= addr)
			r++;
		if (r < area->regions.nr && area->regions.v[r].start <= addr)
			region = &area->regions.v[r];
		pme[i] = patch_entry(pme[i], region);
	}
	return 0;
}
