/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * areas.h - the areas (VMAs) of a process, read once from its maps.
 */
#ifndef PAGESCAN_SCAN_AREAS_H
#define PAGESCAN_SCAN_AREAS_H

#include <pagescan.h>

/*
 * One area, [start, end) in bytes. @file: something other than anonymous memory is mapped, so pages may be the file's.
 * @vdso: the kernel's code page, which CRIU dumps as it is. @trackable: private and readable memory of the process's
 * own, which CRIU dumps in every mode; see areas.c. @ours and @trusted belong to the tracker: the area is registered
 * with our userfaultfd; and what is protected in it is in the parent images. The rest belongs to the snapshot: whether
 * the area was read, what was found in it, whether that was protected though nobody tracks it (@stale, see
 * snapshot.c), and whether anybody asked about it.
 */
struct area {
	uint64_t start;
	uint64_t end;
	bool file;
	bool vdso;
	bool trackable;
	bool ours;
	bool trusted;
	bool read;
	bool stale;
	bool asked;
	struct pagescan_regions regions;
};

/* All areas, ascending; owns @v, and @text, what maps said. */
struct areas {
	struct area *v;
	size_t nr;
	size_t room;
	char *text;
};

/* An area of no more pages than this is cheaper to look at together with its neighbours than by a call of its own. */
#define AREA_SMALL_PAGES 16

/*
 * Read the areas of the process behind @proc_dir (an open /proc/PID; stays the caller's), ascending.
 * Returns 0 or a negative errno; -ESRCH where the process has no memory. On an error @areas is empty.
 */
int areas_read(int proc_dir, struct areas *areas);

/*
 * Take one line of maps; [vsyscall] is left out. Returns 0, -EINVAL (not such a line, or out of order) or -ENOMEM.
 * Split out for tests.
 */
int areas_add_line(struct areas *areas, const char *line);

/*
 * How many areas, @first and those right behind it, can be looked at by one call: more than one only if all are
 * small. What lies between them is not mapped.
 */
size_t areas_run(const struct areas *areas, size_t first);

/* The index of the first area that ends after @addr (bytes); areas->nr where there is none. */
size_t areas_find(const struct areas *areas, uint64_t addr);

/* Free everything and make the list empty. */
void areas_fini(struct areas *areas);

#endif
