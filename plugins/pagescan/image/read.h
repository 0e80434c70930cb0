/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * read.h - read CRIU's images: which pages a directory holds of a task, which areas the task has, who is whose child.
 *
 * @dir is an open image directory that stays the caller's, @pid what CRIU calls the task. Calls return 0 or a negative
 * errno: -ENOENT (no such image), -EBADMSG (not a valid one), -EOPNOTSUPP (made by a CRIU with fields or flags in its
 * pagemaps that are not known here, such as those of compressed pages). On an error what would have been read is empty.
 * The auditor does not use this; see audit/chain.c.
 */
#ifndef PAGESCAN_IMAGE_READ_H
#define PAGESCAN_IMAGE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages [start, end), bytes. If not @in_parent they lie at @offset of the pages file. */
struct image_run {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	bool in_parent;
};

/* All that pagemap-PID.img tells, ascending; owns @v until image_runs_fini(). @bytes: how long its file of pages is. */
struct image_runs {
	struct image_run *v;
	size_t nr;
	uint32_t pages_id;
	uint64_t bytes;
};

int image_read_runs(int dir, int pid, struct image_runs *runs);
void image_runs_fini(struct image_runs *runs);

/* The first run that ends after @addr, runs->nr where there is none. */
size_t image_runs_find(const struct image_runs *runs, uint64_t addr);

/* An area of mm-PID.img. @prot, @flags: mmap(2)'s. @status: IMAGE_AREA_*. @madv: a bit for each advice of madvise(2). */
struct image_area {
	uint64_t start;
	uint64_t end;
	uint32_t prot;
	uint32_t flags;
	uint32_t status;
	uint64_t madv;
};

/* criu/include/image.h, VMA_* */
#define IMAGE_AREA_REGULAR	(1u << 0)
#define IMAGE_AREA_FILE_PRIVATE (1u << 6)
#define IMAGE_AREA_ANON_PRIVATE (1u << 9)
#define IMAGE_AREA_AIORING	(1u << 13)
#define IMAGE_AREA_SHSTK	(1u << 15)
#define IMAGE_AREA_EXT_PLUGIN	(1u << 27)

/* In CRIU's order; owns @v until image_areas_fini(). */
struct image_areas {
	struct image_area *v;
	size_t nr;
};

int image_read_areas(int dir, int pid, struct image_areas *areas);
void image_areas_fini(struct image_areas *areas);

/* pstree.img: parents before children. @parent: 0 for the root. */
struct image_task {
	int pid;
	int parent;
};

struct image_tree {
	struct image_task *v;
	size_t nr;
};

int image_read_tree(int dir, struct image_tree *tree);
void image_tree_fini(struct image_tree *tree);

#endif
