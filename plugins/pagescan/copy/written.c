// SPDX-License-Identifier: GPL-2.0-only
/*
 * written.c - count written pages. Calls tree, scan (areas, walk), registered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scan/areas.h"
#include "track/registered.h"
#include "tree.h"
#include "written.h"

#define POPULATED (PAGESCAN_PRESENT | PAGESCAN_SWAPPED)

/* The sixth field of its line (proc_pid_maps(5)). */
void written_name(const struct areas *areas, const struct area *area, char *name, size_t size)
{
	char start[24];
	const char *line = areas->text;

	snprintf(start, sizeof(start), "%08llx-", (unsigned long long)area->start);
	*name = '\0';
	while (line && *line && strncmp(line, start, strlen(start)))
		line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
	for (int field = 0; line && field < 5; field++) {
		line += strcspn(line, " \n");
		line += strspn(line, " ");
	}
	if (!line)
		return;
	snprintf(name, size, "%.*s", (int)strcspn(line, "\n"), line);
	/* A file's name may hold any bytes. */
	for (char *at = name; *at; at++) {
		if (*at < ' ' || *at > '~')
			*at = '?';
	}
}

void written_keep(struct written *written, const struct written_area *area)
{
	struct written_area *top = written->top, whole = *area;
	size_t at = 0;

	/* A part of it may be there already. */
	while (at < written->nr && (top[at].pid != area->pid || top[at].start != area->start))
		at++;
	if (at < written->nr)
		whole.bytes += top[at].bytes;
	else if (written->nr < WRITTEN_AREAS)
		at = written->nr++;
	else if (top[--at].bytes >= area->bytes)
		return;
	for (; at && top[at - 1].bytes < whole.bytes; at--)
		top[at] = top[at - 1];
	top[at] = whole;
}

static bool is_shared_memory(const struct areas *areas, const struct area *area)
{
	char name[16];

	written_name(areas, area, name, sizeof(name));
	return !strncmp(name, "/dev/zero", 9) || !strncmp(name, "/memfd:", 7) || !strncmp(name, "/SYSV", 5);
}

/* Pages that hold nothing (the zero page) and pages that are a file's count for nobody. */
static int count(struct written *written, int pid, int pagemap_fd, const struct areas *areas, const struct area *area)
{
	const bool shared = !area->trackable;
	const struct pagescan_query query = {
		.anyof = POPULATED,
		.excluded = PAGESCAN_PFNZERO | (area->file && !shared ? PAGESCAN_FILE : 0),
		.returned = PAGESCAN_WRITTEN,
	};
	struct written_area hot = { .pid = pid, .start = area->start, .end = area->end };
	struct pagescan_regions found = { 0 };
	int err;

	if (shared && (!area->file || !is_shared_memory(areas, area)))
		return 0;
	err = pagescan_walk(pagemap_fd, area->start, area->end, &query, &found);
	for (size_t i = 0; i < found.nr; i++) {
		const uint64_t bytes = found.v[i].end - found.v[i].start;

		if (shared)
			written->shared += bytes;
		else if (!area->ours)
			written->untracked += bytes;
		else if (found.v[i].categories & PAGESCAN_WRITTEN)
			hot.bytes += bytes;
		else
			written->clean += bytes;
	}
	pagescan_regions_fini(&found);
	written->written += hot.bytes;
	if (hot.bytes) {
		written_name(areas, area, hot.name, sizeof(hot.name));
		written_keep(written, &hot);
	}
	return err;
}

static int count_task(struct written *written, const struct tree_task *task)
{
	int dir = tree_open(task), pagemap, err;
	struct areas areas;

	if (dir < 0)
		return dir;
	pagemap = openat(dir, "pagemap", O_RDONLY | O_CLOEXEC);
	err = pagemap < 0 ? -errno : areas_read(dir, &areas);
	if (!err) {
		registered_find(pagemap, &areas);
		for (size_t i = 0; !err && i < areas.nr; i++)
			err = count(written, task->pid, pagemap, &areas, &areas.v[i]);
		areas_fini(&areas);
		written->tasks++;
	}
	if (pagemap >= 0)
		close(pagemap);
	close(dir);
	return err;
}

int written_read(struct written *written, int pid, struct reason *why)
{
	struct tree tree = { 0 };
	int err = tree_read(&tree, pid);

	*written = (struct written){ 0 };
	if (err < 0)
		reason_set(why, err, "out of memory");
	else
		err = 0;
	for (size_t i = 0; !err && i < tree.nr; i++) {
		err = count_task(written, &tree.v[i]);
		if (i && (err == -ESRCH || err == -ENOENT))
			err = 0;
		if (err)
			reason_set(why, err, "cannot look at the memory of %d: %s", tree.v[i].pid, strerror(-err));
	}
	tree_fini(&tree);
	return err;
}
