/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tree.h - the processes of a tree, which go on meanwhile.
 */
#ifndef PAGESCAN_COPY_TREE_H
#define PAGESCAN_COPY_TREE_H

#include <stddef.h>

/* @parent: 0 for the root. */
struct tree_task {
	int pid;
	int parent;
};

/* Parents before children; owns @v until tree_fini(). Initialise with zeros. */
struct tree {
	struct tree_task *v;
	size_t nr;
};

/*
 * Add to @tree those of @root's descendants, and @root itself, that are not in it yet. One that starts meanwhile may be
 * missing. Returns how many were added, or -ENOMEM.
 */
int tree_read(struct tree *tree, int root);

/*
 * Open /proc/PID of a task. Returns the descriptor, the caller's, or -ESRCH: it has ended, and if there is a process
 * with this pid it is not of this tree.
 */
int tree_open(const struct tree_task *task);

void tree_fini(struct tree *tree);

#endif
