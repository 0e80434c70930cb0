// SPDX-License-Identifier: GPL-2.0-only
/*
 * status.c - pagescan status: what is tracked. Calls keeper (which tasks), scan (how much of their memory), identity,
 * container.
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
#include "track/container.h"
#include "track/identity.h"
#include "track/keeper.h"

struct task {
	char comm[32];
	char container[CONTAINER_NAME];
	uint64_t areas;
	uint64_t protected_bytes;
};

/* Who names a task or a control group may take any bytes, terminal commands and what is not UTF-8 too. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

static int read_comm(int dir, struct task *task)
{
	int fd = openat(dir, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, task->comm, sizeof(task->comm) - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	task->comm[len > 0 ? len : 0] = '\0';
	task->comm[strcspn(task->comm, "\n")] = '\0';
	make_printable(task->comm);
	return len < 0 ? (int)len : 0;
}

/* The pages that are tracked, by area. */
static int count(int pagemap, const struct areas *areas, struct task *task)
{
	const struct pagescan_query registered = { .required = PAGESCAN_WPALLOWED,
						   .returned = PAGESCAN_WRITTEN,
						   .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	int err = 0;

	for (size_t i = 0; !err && i < areas->nr; i++) {
		struct pagescan_regions regions = { 0 };

		err = pagescan_walk(pagemap, areas->v[i].start, areas->v[i].end, &registered, &regions);
		task->areas += !!regions.nr;
		for (size_t r = 0; r < regions.nr; r++) {
			if (!(regions.v[r].categories & PAGESCAN_WRITTEN))
				task->protected_bytes += regions.v[r].end - regions.v[r].start;
		}
		pagescan_regions_fini(&regions);
	}
	return err;
}

/* Returns 0 or a negative errno. */
static int look_at(int pid, struct task *task)
{
	struct areas areas;
	int dir = identity_open(pid), pagemap, err;

	*task = (struct task){ 0 };
	if (dir < 0)
		return dir;
	err = read_comm(dir, task);
	if (!err)
		err = container_of(dir, task->container);
	make_printable(task->container);
	pagemap = openat(dir, "pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0 && !err)
		err = -errno;
	if (!err)
		err = areas_read(dir, &areas);
	if (!err) {
		err = count(pagemap, &areas, task);
		areas_fini(&areas);
	}
	if (pagemap >= 0)
		close(pagemap);
	close(dir);
	return err;
}

struct answer {
	json_t *list; /* NULL: as a table */
	bool incomplete;
};

static int visit(void *ctx, const struct keeper_entry *entry)
{
	struct answer *answer = ctx;
	char since[32] = "";
	time_t seconds = (time_t)entry->since;
	struct task task;
	struct tm tm;
	int err = look_at(entry->id.pid, &task);

	/* A task that is gone by now has nothing to count. */
	if (err && err != -ENOENT && err != -ESRCH) {
		complain("cannot look at process %d: %s", entry->id.pid, strerror(-err));
		answer->incomplete = true;
	}
	if (answer->list) {
		json_append(answer->list,
			    json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:I}", "pid", entry->id.pid, "command", task.comm,
				      "container", task.container, "since", (json_int_t)entry->since, "epoch",
				      (json_int_t)entry->epoch.number, "areas", (json_int_t)task.areas,
				      "protected_bytes", (json_int_t)task.protected_bytes));
		return 0;
	}
	strftime(since, sizeof(since), "%F %T", localtime_r(&seconds, &tm));
	printf("%7d  %-15s  %-19s  %6" PRIu64 "  %6" PRIu64 "  %15" PRIu64 "  %.*s\n", entry->id.pid, task.comm, since,
	       entry->epoch.number, task.areas, task.protected_bytes, container_shown(task.container), task.container);
	return 0;
}

int cmd_status(int argc, char **argv)
{
	struct answer answer = { 0 };
	struct reason why;
	bool json = false;
	int err = parse_options(argc, argv, "status [--json]\nLists the tasks whose memory is tracked.", &json, 0, 0);

	if (err >= 0)
		return err;
	if (json) {
		answer.list = json_array();
		if (!answer.list)
			return print_json(NULL);
	} else {
		printf("%7s  %-15s  %-19s  %6s  %6s  %15s  %s\n", "PID", "COMMAND", "SINCE", "EPOCH", "AREAS",
		       "PROTECTED BYTES", "CONTAINER");
	}

	err = keeper_list(visit, &answer, &why);
	if (err && err != -ENOENT) { /* no keeper: nothing is tracked */
		json_decref(answer.list);
		complain("%s", why.text);
		return EXIT_FAILED;
	}
	err = json ? print_json(answer.list) : EXIT_SUCCESS;
	return answer.incomplete ? EXIT_FAILED : err;
}
