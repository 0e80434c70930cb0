// SPDX-License-Identifier: GPL-2.0-only
/*
 * pre_dump.c - pagescan pre-dump: one live round of a process tree. Calls live_round, files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "copy/files.h"
#include "copy/live_round.h"

#define MAX_JOBS 64

static const char usage[] =
	"Usage: pagescan pre-dump -t PID -D DIRECTORY [OPTIONS]\n"
	"Copies the memory of a process and its descendants into CRIU's images while they run: the first time all of\n"
	"it, then what was written since the parent images.\n\n"
	"  -t, --tree PID             the root of the tree\n"
	"  -D, --images-dir DIR       where the images go: an empty directory, made if it is not there\n"
	"      --prev-images-dir DIR  the images of the round before, relative to DIRECTORY\n"
	"      --jobs N               threads that copy (1)\n"
	"      --max-bandwidth RATE   bytes a second at most, as in 800K, 200M, 1G\n"
	"      --json                 print what was done as JSON\n";

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static void tell(int pid, const char *text)
{
	complain("%d: %s", pid, text);
}

/* A descriptor of the directory, which holds nothing yet. Returns -1 after a complaint. */
static int open_images(const char *path)
{
	const struct dirent *entry;
	bool used = false;
	DIR *list;
	int dir;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		complain("cannot make the directory %s: %s", path, strerror(errno));
		return -1;
	}
	list = opendir(path);
	if (!list) {
		complain("cannot open the directory %s: %s", path, strerror(errno));
		return -1;
	}
	while ((entry = readdir(list)))
		used = used || (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."));
	dir = used ? -1 : fcntl(dirfd(list), F_DUPFD_CLOEXEC, 0);
	if (used)
		complain("the directory %s is not empty; each round wants one of its own", path);
	else if (dir < 0)
		complain("cannot open the directory %s: %s", path, strerror(errno));
	closedir(list);
	return dir;
}

static int print_result(const struct live_result *result, bool json)
{
	const double seconds = (double)result->ns / 1e9;
	const double mib = (double)(result->pages.copied * pagescan_page_size()) / (1 << 20);

	if (json)
		return print_json(json_pack(
			"{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "tasks", (json_int_t)result->tasks, "skipped",
			(json_int_t)result->skipped, "pages_written", (json_int_t)result->pages.copied,
			"pages_skipped_parent", (json_int_t)result->pages.parent, "pages_lost",
			(json_int_t)result->pages.lost, "seconds", seconds, "stopped_seconds",
			(double)result->stopped / 1e9, "longest_stop_seconds", (double)result->stopped_most / 1e9));
	printf("%u task%s: %.1f MiB copied in %.2f s, %" PRIu64 " pages are in the parent images", result->tasks,
	       result->tasks == 1 ? "" : "s", mib, seconds, result->pages.parent);
	if (result->armed)
		printf("; tracking began for %u, which took %.2f ms of one thread, %.2f at most", result->armed,
		       (double)result->stopped / 1e6, (double)result->stopped_most / 1e6);
	putchar('\n');
	return EXIT_SUCCESS;
}

struct options {
	struct live_request request;
	const char *images;
	bool json;
};

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
	enum { PREV = 256, JOBS, RATE, JSON };
	static const struct option known[] = {
		{ "tree", required_argument, NULL, 't' },
		{ "images-dir", required_argument, NULL, 'D' },
		{ "prev-images-dir", required_argument, NULL, PREV },
		{ "jobs", required_argument, NULL, JOBS },
		{ "max-bandwidth", required_argument, NULL, RATE },
		{ "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct live_request *request = &options->request;
	unsigned long number;
	int option;

	while ((option = getopt_long(argc, argv, "t:D:h", known, NULL)) != -1) {
		switch (option) {
		case 't':
			request->pid = parse_pid(optarg);
			if (!request->pid)
				return EXIT_USAGE;
			break;
		case 'D':
			options->images = optarg;
			break;
		case PREV:
			request->parent = optarg;
			break;
		case JOBS:
			if (parse_number("jobs", optarg, 1, MAX_JOBS, &number))
				return EXIT_USAGE;
			request->jobs = (unsigned int)number;
			break;
		case RATE:
			request->rate = parse_rate(optarg);
			if (!request->rate)
				return EXIT_USAGE;
			break;
		case JSON:
			options->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc || !request->pid || !options->images) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

int cmd_pre_dump(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct options options = { .request = { .jobs = 1, .stop = &stop, .tell = tell } };
	struct live_result result;
	struct files files;
	struct reason why;
	int status = parse(argc, argv, &options);
	int err;

	if (status >= 0)
		return status;
	err = open_process(options.request.pid);
	if (err < 0)
		return EXIT_FAILED;
	close(err);
	options.request.dir = open_images(options.images);
	if (options.request.dir < 0)
		return EXIT_FAILED;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	files_init(&files, options.request.dir);
	options.request.sink = &files.sink;
	err = live_round(&options.request, &result, &why);
	close(options.request.dir);
	if (err) {
		complain("%s", why.text);
		return EXIT_FAILED;
	}
	return print_result(&result, options.json);
}
