// SPDX-License-Identifier: GPL-2.0-only
/*
 * watch.c - pagescan watch PID: where and how fast a process tree writes. Calls sample, written, converge, live, clock.
 *
 * If the tree is tracked already, as in a chain of rounds, it is only looked at: what was written since the last round,
 * and what a dump would pause for now. Else it is tracked for as long as it is watched.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "copy/converge.h"
#include "copy/sample.h"
#include "live.h"
#include "track/clock.h"

/*
 * Bytes a second that a dump writes, as pagescan dump assumes before it has measured; and how long its last live round
 * takes at least, in which the tree goes on writing.
 */
#define THROUGHPUT   1e9
#define LAST_ROUND_S 0.05

static const char usage[] =
	"Usage: pagescan watch [--interval SECONDS] [--count N] [--json] PID\n"
	"Shows how much a process and its descendants write in a second, where, and for how long a\n"
	"dump would stop them. Ends after N looks (--count), or by Ctrl-C.\n";

struct watch {
	int pid;
	bool json;
	bool passive;
	unsigned long interval;
	unsigned long count;
	struct sample sample;
};

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void print_look(const struct watch *watch, const struct written *written, double seconds, double pause)
{
	if (watch->json) {
		json_t *event =
			json_pack("{s:i, s:b, s:f, s:i, s:I, s:I, s:f, s:o}", "pid", watch->pid, "chain",
				  watch->passive, "seconds", seconds, "tasks", (int)written->tasks, "written_bytes",
				  (json_int_t)written->written, "clean_bytes", (json_int_t)written->clean,
				  "pause_seconds", pause, "areas", live_areas(written));

		if (event && !json_dumpf(event, stdout, JSON_COMPACT))
			putchar('\n');
		json_decref(event);
		return;
	}
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	if (watch->passive)
		printf("%u task%s: %.1f MiB written since the last round; a dump now would pause for about %.0f ms\n",
		       written->tasks, written->tasks == 1 ? "" : "s", mib(written->written), pause * 1e3);
	else
		printf("%u task%s: %.1f MiB/s of %.0f MiB; a dump after live rounds would pause for about %.0f ms\n",
		       written->tasks, written->tasks == 1 ? "" : "s", mib(written->written) / seconds,
		       mib(written->written + written->clean), pause * 1e3);
	for (size_t i = 0; i < written->nr; i++)
		printf("%7d  %8.1f MiB%s of %10.1f  %012" PRIx64 "-%012" PRIx64 "  %s\n", written->top[i].pid,
		       mib(written->top[i].bytes) / (watch->passive ? 1 : seconds), watch->passive ? "" : "/s",
		       mib(written->top[i].end - written->top[i].start), written->top[i].start, written->top[i].end,
		       *written->top[i].name ? written->top[i].name : "(anonymous)");
	fflush(stdout);
}

/*
 * One look; in the first one of an untracked tree all is new, and nothing is shown. Returns 1 to go on, 0 at the end, -1
 * after a complaint.
 */
static int look(struct watch *watch, double *since)
{
	struct written written, last;
	struct reason why;
	bool first = !watch->passive && !watch->sample.begun;
	int err = watch->passive ? written_read(&written, watch->pid, &why) :
				   sample_take(&watch->sample, watch->pid, &written, &why);
	const double seconds = clock_seconds() - *since;

	*since += seconds;
	if (err) {
		complain("%s", why.text);
		return -1;
	}
	if (first)
		return 1;
	last = written;
	if (!watch->passive)
		last.written = (uint64_t)((double)written.written / seconds * LAST_ROUND_S);
	print_look(watch, &written, seconds, converge_pause(&last, THROUGHPUT, NULL));
	return !watch->count || --watch->count > 0;
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct watch *watch)
{
	static const struct option known[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (option == 'j')
			watch->json = true;
		else if (option == '?' ||
			 (option == 'i' && parse_number("interval", optarg, 1, 86400, &watch->interval)) ||
			 (option == 'n' && parse_number("count", optarg, 1, 1000000000, &watch->count)))
			return EXIT_USAGE;
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	watch->pid = parse_pid(argv[optind]);
	return watch->pid ? -1 : EXIT_USAGE;
}

int cmd_watch(int argc, char **argv)
{
	struct watch watch = { .interval = 1 };
	int status = parse(argc, argv, &watch), process;
	double since = clock_seconds();
	int more = 1;

	if (status >= 0)
		return status;
	process = open_process(watch.pid);
	if (process < 0)
		return EXIT_FAILED;
	close(process);
	status = sample_disturbs(watch.pid);
	if (status < 0) {
		complain("cannot tell whether %d is tracked: %s", watch.pid, strerror(-status));
		return EXIT_FAILED;
	}
	watch.passive = status;
	live_heed_signals();
	while (more > 0 && !live_stop) {
		more = look(&watch, &since);
		if (more > 0)
			sleep((unsigned int)watch.interval);
	}
	sample_end(&watch.sample);
	return more < 0 ? EXIT_FAILED : EXIT_SUCCESS;
}
