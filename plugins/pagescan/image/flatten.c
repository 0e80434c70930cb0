// SPDX-License-Identifier: GPL-2.0-only
/*
 * flatten.c - a parent for a dump whose pages are elsewhere. Calls read, image, the kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "flatten.h"
#include "image.h"
#include "read.h"

static int flatten_task(int dir, int pid)
{
	struct image_pagemap pagemap = { 0 };
	struct image_runs runs;
	char name[32];
	int err = image_read_runs(dir, pid, &runs), end;

	image_pagemap_name(name, pid);
	if (!err && unlinkat(dir, name, 0) < 0)
		err = -errno;
	if (!err)
		err = image_pagemap_open(&pagemap, dir, pid, runs.pages_id);
	for (size_t i = 0; !err && i < runs.nr; i++)
		err = image_pagemap_add(&pagemap, runs.v[i].start, runs.v[i].end, IMAGE_PRESENT);
	end = image_pagemap_close(&pagemap);
	image_runs_fini(&runs);
	return err ? err : end;
}

/* The pids of all pagemap-PID.img, *nr of them; they are the caller's to free. NULL: they cannot be read, with errno. */
static int *list_pids(int dir, size_t *nr)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	int *pids = list ? calloc(1, sizeof(*pids)) : NULL, *more, pid;

	*nr = 0;
	while (pids && (entry = readdir(list))) {
		int len = 0;

		if (sscanf(entry->d_name, "pagemap-%d.img%n", &pid, &len) != 1 || !len || entry->d_name[len])
			continue;
		more = realloc(pids, (*nr + 1) * sizeof(*pids));
		if (!more)
			free(pids);
		else
			more[(*nr)++] = pid;
		pids = more;
	}
	if (list)
		closedir(list);
	else if (copy >= 0)
		close(copy);
	return pids;
}

int image_flatten(int dir)
{
	size_t nr;
	int *pids = list_pids(dir, &nr), err = pids ? 0 : -errno;

	for (size_t i = 0; !err && i < nr; i++)
		err = flatten_task(dir, pids[i]);
	if (!err && unlinkat(dir, IMAGE_PARENT, 0) < 0 && errno != ENOENT)
		err = -errno;
	free(pids);
	return err;
}
