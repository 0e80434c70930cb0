// SPDX-License-Identifier: GPL-2.0-only
/*
 * status.c - pagescan status: what is tracked. Calls keeper (which tasks), scan (how much of their memory).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "scan/areas.h"
#include "track/keeper.h"

struct task {
	char comm[32];
	uint64_t areas;
	uint64_t protected_bytes;
};

static void read_comm(int dir, struct task *task)
{
	int fd = openat(dir, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, task->comm, sizeof(task->comm) - 1) : 0;

	if (fd >= 0)
		close(fd);
	task->comm[len > 0 ? len : 0] = '\0';
	task->comm[strcspn(task->comm, "\n")] = '\0';
}

/* The task may be gone by now; then there is nothing to count. */
static void look_at(int pid, struct task *task)
{
	const struct pagescan_query registered = { .required = PAGESCAN_WPALLOWED,
						   .returned = PAGESCAN_WRITTEN,
						   .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	struct areas areas;
	char path[32];
	int dir, pagemap;

	*task = (struct task){ 0 };
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	read_comm(dir, task);
	pagemap = openat(dir, "pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap >= 0 && !areas_read(dir, &areas)) {
		for (size_t i = 0; i < areas.nr; i++) {
			struct pagescan_regions regions = { 0 };

			pagescan_walk(pagemap, areas.v[i].start, areas.v[i].end, &registered, &regions);
			task->areas += !!regions.nr;
			for (size_t r = 0; r < regions.nr; r++) {
				if (!(regions.v[r].categories & PAGESCAN_WRITTEN))
					task->protected_bytes += regions.v[r].end - regions.v[r].start;
			}
			pagescan_regions_fini(&regions);
		}
		areas_fini(&areas);
	}
	if (pagemap >= 0)
		close(pagemap);
	close(dir);
}

static int visit(void *ctx, const struct keeper_entry *entry)
{
	json_t *list = ctx;
	char since[32] = "";
	time_t seconds = (time_t)entry->since;
	struct task task;
	struct tm tm;

	look_at(entry->id.pid, &task);
	if (list)
		return json_array_append_new(list,
					     json_pack("{s:i, s:s, s:I, s:I, s:I, s:I}", "pid", entry->id.pid,
						       "command", task.comm, "since", (json_int_t)entry->since, "epoch",
						       (json_int_t)entry->epoch.number, "areas", (json_int_t)task.areas,
						       "protected_bytes", (json_int_t)task.protected_bytes)) ?
			       -ENOMEM :
			       0;
	strftime(since, sizeof(since), "%F %T", localtime_r(&seconds, &tm));
	printf("%7d  %-15s  %-19s  %6" PRIu64 "  %6" PRIu64 "  %15" PRIu64 "\n", entry->id.pid, task.comm, since,
	       entry->epoch.number, task.areas, task.protected_bytes);
	return 0;
}

int cmd_status(int argc, char **argv)
{
	json_t *list = NULL;
	struct reason why;
	bool json = false;
	int err = parse_options(argc, argv, "status [--json]\nLists the tasks whose memory is tracked.", &json, 0, 0);

	if (err >= 0)
		return err;
	if (json)
		list = json_array();
	else
		printf("%7s  %-15s  %-19s  %6s  %6s  %15s\n", "PID", "COMMAND", "SINCE", "EPOCH", "AREAS",
		       "PROTECTED BYTES");

	err = keeper_list(visit, list, &why);
	if (err && err != -ENOENT) { /* no keeper: nothing is tracked */
		json_decref(list);
		complain("%s", why.text);
		return EXIT_FAILED;
	}
	return json ? print_json(list) : EXIT_SUCCESS;
}
