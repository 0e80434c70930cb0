// SPDX-License-Identifier: GPL-2.0-only
/*
 * pre_dump.c - pagescan pre-dump: one live round of a process tree. Calls live, live_round, files, page_server.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd.h"
#include "copy/files.h"
#include "live.h"
#include "page_server.h"

static const char usage[] =
	"Usage: pagescan pre-dump -t PID -D DIRECTORY [OPTIONS]\n"
	"Copies the memory of a process and its descendants into CRIU's images while they run: the first time all of\n"
	"it, then what was written since the parent images.\n\n"
	"  -t, --tree PID             the root of the tree\n"
	"  -D, --images-dir DIR       where the images go: an empty directory, made if it is not there\n"
	"      --prev-images-dir DIR  the images of the round before, relative to DIRECTORY\n"
	"      --page-server          send the pages to a criu page-server, and only the rest to DIRECTORY\n"
	"      --address ADDRESS      where it listens\n"
	"      --port PORT\n"
	"      --jobs N               threads that copy (1)\n"
	"      --max-bandwidth RATE   bytes a second at most, as in 800K, 200M, 1G\n"
	"      --json                 print what was done as JSON\n";

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
	struct page_server page_server;
	bool json;
};

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
	enum { PREV = 256, SERVER, ADDRESS, PORT, JOBS, RATE, JSON };
	static const struct option known[] = {
		{ "tree", required_argument, NULL, 't' },
		{ "images-dir", required_argument, NULL, 'D' },
		{ "prev-images-dir", required_argument, NULL, PREV },
		{ "page-server", no_argument, NULL, SERVER },
		{ "address", required_argument, NULL, ADDRESS },
		{ "port", required_argument, NULL, PORT },
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
		case SERVER:
			options->page_server.wanted = true;
			break;
		case ADDRESS:
			options->page_server.address = optarg;
			break;
		case PORT:
			options->page_server.port = optarg;
			break;
		case JOBS:
			if (parse_number("jobs", optarg, 1, COPY_JOBS, &number))
				return EXIT_USAGE;
			request->plan.jobs = (unsigned int)number;
			break;
		case RATE:
			request->plan.rate = parse_rate(optarg);
			if (!request->plan.rate)
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
	if (!page_server_is_whole(&options->page_server))
		return EXIT_USAGE;
	if (optind < argc || !request->pid || !options->images) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* One round to where the pages shall go. Returns 0 or a negative errno with @why. */
static int make_round(struct options *options, struct live_result *result, struct reason *why)
{
	struct server server;
	struct files files;
	int err;

	if (!options->page_server.wanted) {
		files_init(&files, options->request.dir);
		options->request.plan.sink = &files.sink;
		return live_round(&options->request, result, why);
	}
	err = page_server_connect(&options->page_server, 0, &server, why);
	if (err)
		return err;
	options->request.plan.sink = &server.sink;
	err = live_round(&options->request, result, why);
	server_close(&server);
	return err;
}

int cmd_pre_dump(int argc, char **argv)
{
	struct options options = { .request = { .plan = { .jobs = 1, .stop = &live_stop }, .tell = live_tell } };
	struct live_result result;
	struct reason why;
	int status = parse(argc, argv, &options), process, err;

	if (status >= 0)
		return status;
	process = open_process(options.request.pid);
	if (process < 0)
		return EXIT_FAILED;
	close(process);
	options.request.dir = live_images(options.images);
	if (options.request.dir < 0)
		return EXIT_FAILED;
	live_heed_signals();
	err = make_round(&options, &result, &why);
	close(options.request.dir);
	if (err) {
		complain("%s", why.text);
		return EXIT_FAILED;
	}
	return print_result(&result, options.json);
}
