// SPDX-License-Identifier: GPL-2.0-only
/*
 * flatten.c - a parent for a dump whose pages are elsewhere. Calls read, image, the kernel.
 */
#include <dirent.h>
#include <errno.h>
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

/* The pids of all pagemap-PID.img, the caller's to free. Returns their number or a negative errno. */
static int list_pids(int dir, int **pids)
{
	DIR *list = image_list(dir, ".");
	const struct dirent *entry;
	int nr = 0, *more;

	*pids = NULL;
	if (!list)
		return -errno;
	while (nr >= 0 && (entry = readdir(list))) {
		const int pid = image_pagemap_pid(entry->d_name);

		if (!pid)
			continue;
		more = realloc(*pids, ((size_t)nr + 1) * sizeof(**pids));
		if (more) {
			more[nr++] = pid;
			*pids = more;
		} else {
			nr = -ENOMEM;
		}
	}
	closedir(list);
	return nr;
}

int image_flatten(int dir)
{
	int *pids, nr = list_pids(dir, &pids), err = nr < 0 ? nr : 0;

	for (int i = 0; !err && pids && i < nr; i++)
		err = flatten_task(dir, pids[i]);
	if (!err && unlinkat(dir, IMAGE_PARENT, 0) < 0 && errno != ENOENT)
		err = -errno;
	free(pids);
	return err;
}
