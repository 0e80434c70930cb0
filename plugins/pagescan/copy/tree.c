// SPDX-License-Identifier: GPL-2.0-only
/*
 * tree.c - walk /proc/PID/task/TID/children (proc_pid_task_children(5)). Calls identity, the kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "track/identity.h"
#include "tree.h"

static int add(struct tree *tree, int pid, int parent)
{
	struct tree_task *v;

	for (size_t i = 0; i < tree->nr; i++) {
		if (tree->v[i].pid == pid)
			return 0;
	}
	v = reallocarray(tree->v, tree->nr + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v[tree->nr++] = (struct tree_task){ pid, parent };
	tree->v = v;
	return 1;
}

/* The children of one thread. Returns how many were added, or -ENOMEM. */
static int add_children(struct tree *tree, int parent, const char *tid)
{
	int child, added = 0, got = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.10s/children", parent, tid);
	file = fopen(path, "re");
	while (file && got >= 0 && fscanf(file, "%d", &child) == 1) {
		got = add(tree, child, parent);
		added += got;
	}
	if (file)
		fclose(file);
	return got < 0 ? got : added;
}

/* The children of all threads of one process. */
static int add_family(struct tree *tree, int parent)
{
	const struct dirent *entry;
	int added = 0, got = 0;
	char path[32];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", parent);
	threads = opendir(path);
	if (!threads)
		return 0; /* it has ended */
	while (got >= 0 && (entry = readdir(threads))) {
		if (*entry->d_name == '.')
			continue;
		got = add_children(tree, parent, entry->d_name);
		added += got;
	}
	closedir(threads);
	return got < 0 ? got : added;
}

int tree_read(struct tree *tree, int root)
{
	int added = add(tree, root, 0), got = added;

	/* The list grows meanwhile. */
	for (size_t i = 0; got >= 0 && i < tree->nr; i++) {
		got = add_family(tree, tree->v[i].pid);
		added += got;
	}
	return got < 0 ? got : added;
}

int tree_open(const struct tree_task *task)
{
	int dir = identity_open(task->pid);

	if (dir >= 0 && task->parent && identity_status(dir, "PPid") != task->parent) {
		close(dir);
		return -ESRCH;
	}
	return dir;
}

void tree_fini(struct tree *tree)
{
	free(tree->v);
	*tree = (struct tree){ 0 };
}
