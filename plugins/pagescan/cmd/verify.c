// SPDX-License-Identifier: GPL-2.0-only
/*
 * verify.c - pagescan verify DIR --pid PID: is every page that the next round would leave out in the images? Calls
 * audit, track.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/audit.h"
#include "cmd.h"
#include "track/tracker.h"

#define USAGE                                                                                                   \
	"verify DIR --pid PID\n"                                                                                \
	"Compares every page of a stopped task that a round on top of the images in DIR would leave out with\n" \
	"its bytes in DIR and the parents of DIR."

#define VEC_LEN 1024

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, const char **images, int *pid)
{
	const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "hp:", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			*pid = parse_pid(optarg);
			if (!*pid)
				return EXIT_USAGE;
			break;
		case 'h':
			puts("Usage: pagescan " USAGE);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (!*pid || argc - optind != 1) {
		fputs("Usage: pagescan " USAGE "\n", stderr);
		return EXIT_USAGE;
	}
	*images = argv[optind];
	return -1;
}

/* The state letter of /proc/PID/task/TID/stat: T is stopped by a signal, t by a tracer. */
static bool is_thread_stopped(int tasks, const char *tid)
{
	char path[300], text[512];
	const char *bracket;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/stat", tid);
	fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT; /* it has ended */
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	bracket = strrchr(text, ')');
	return bracket && bracket[1] == ' ' && strchr("TtZX", bracket[2]);
}

static bool is_stopped(int proc_dir)
{
	int tasks = openat(proc_dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = tasks >= 0 ? fdopendir(tasks) : NULL;
	bool stopped = list;

	for (struct dirent *entry; stopped && (entry = readdir(list));)
		stopped = entry->d_name[0] == '.' || is_thread_stopped(tasks, entry->d_name);
	if (list)
		closedir(list);
	else if (tasks >= 0)
		close(tasks);
	return stopped;
}

/* Ask about all memory as CRIU would, and compare what the answers call clean. */
static int verify_memory(struct tracker *tracker, struct audit *audit, struct reason *why)
{
	const struct areas *areas = &tracker->snapshot.areas;
	struct pagescan_region vec[VEC_LEN];
	int verdict = 0;

	for (size_t i = 0; i < areas->nr; i++) {
		struct pagescan_ioctl_arg arg = snapshot_question(areas->v[i].start, areas->v[i].end, vec, VEC_LEN);

		/* Elsewhere every page is dirty, and CRIU does not ask about all of it. */
		for (; areas->v[i].trusted && arg.start < arg.end; arg.start = arg.walk_end) {
			int nr = snapshot_scan(&tracker->snapshot, &arg);

			if (nr < 0)
				return reason_set(why, nr, "cannot look at the memory: %s", strerror(-nr));
			if (!audit_goes_on(&verdict, audit_answer(audit, vec, (size_t)nr, verdict ? NULL : why)))
				return verdict;
		}
	}
	return verdict;
}

/* With the images of the last round as the parent, what is clean now was clean ever since. */
static int begin(struct tracker *tracker, int proc_dir, int dir, struct reason *why)
{
	struct epoch_image record = { 0 };
	struct pagescan_kernel kernel;
	struct identity id;
	int err = identity_read(proc_dir, &id);

	if (err)
		return reason_set(why, err, "cannot read the task's stat: %s", strerror(-err));
	err = epoch_image_read(dir, EPOCH_IMAGE, &record, why);
	if (err)
		return err;
	pagescan_probe(&kernel);
	err = tracker_open(tracker, proc_dir, &id, &kernel, &record, record.nr ? "" : "they record no task");
	epoch_image_fini(&record);
	if (!err && !tracker->trusted)
		err = -ESTALE;
	if (err)
		*why = tracker->why;
	return err;
}

static int verify(int proc_dir, int dir, const char *images, int pid)
{
	struct tracker tracker = { .uffd = -1, .snapshot.pagemap_fd = -1 };
	struct audit audit = { .mem_fd = -1 };
	struct reason why;
	int err;

	if (!is_stopped(proc_dir)) {
		complain("%d runs: stop it first (kill -STOP %d)", pid, pid);
		return EXIT_FAILED;
	}
	err = begin(&tracker, proc_dir, dir, &why);
	if (err)
		complain("nothing of %d is clean on top of %s: %s", pid, images, why.text);
	if (!err) {
		err = audit_open(&audit, proc_dir, dir, ".", &why);
		if (!err)
			err = verify_memory(&tracker, &audit, &why);
		if (err)
			complain("%d: %s", pid, why.text);
		if (!err || err == -EBADMSG)
			printf("%d: %" PRIu64 " clean pages compared, %" PRIu64 " differ, %" PRIu64 " are missing\n",
			       pid, audit.compared, audit.different, audit.missing);
		audit_close(&audit);
	}
	tracker_close(&tracker);
	return err ? EXIT_FAILED : EXIT_SUCCESS;
}

int cmd_verify(int argc, char **argv)
{
	const char *images = NULL;
	int pid = 0, status = parse(argc, argv, &images, &pid);
	int dir, proc_dir;

	if (status >= 0)
		return status;
	dir = open(images, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		complain("cannot open %s: %s", images, strerror(errno));
		return EXIT_FAILED;
	}
	proc_dir = open_process(pid);
	status = proc_dir < 0 ? EXIT_FAILED : verify(proc_dir, dir, images, pid);
	if (proc_dir >= 0)
		close(proc_dir);
	close(dir);
	return status;
}
