// SPDX-License-Identifier: GPL-2.0-only
/*
 * dump.c - pagescan dump: live rounds until the pause is short, then criu's own dump. Calls live, live_round, files,
 * written, converge, progress, keeper, exec_criu.
 *
 * One directory holds all: rounds 1, 2, ..., each the parent of the next, and `last`, a link to the dump, in the end.
 * While a file named `incomplete` is there it is not what its user asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "copy/converge.h"
#include "copy/files.h"
#include "copy/tree.h"
#include "image/image.h"
#include "live.h"
#include "progress.h"
#include "track/keeper.h"

#define INCOMPLETE "incomplete"

/* Rounds that copied less say nothing of how fast copying is. Before one did, this is assumed, bytes a second. */
#define TELLING_BYTES	   (16UL << 20)
#define ASSUMED_THROUGHPUT 1e9

static const char usage[] =
	"Usage: pagescan dump -t PID -D DIRECTORY [OPTIONS] [-- CRIU'S OPTIONS]\n"
	"Copies the memory of a process and its descendants in rounds while they run, until a dump would stop them\n"
	"for no longer than is wanted or rounds do not make it shorter, and then dumps them with criu. DIRECTORY/last "
	"is\n"
	"what `criu restore` restores.\n\n"
	"  -t, --tree PID             the root of the tree\n"
	"  -D, --images-dir DIR       where rounds and dump go: an empty directory, made if it is not there\n"
	"      --downtime-limit MS    the pause that is wanted, in milliseconds (300)\n"
	"      --max-rounds N         no more rounds than these before the dump\n"
	"      --timeout S            seconds for all rounds; then what --on-timeout says\n"
	"      --on-timeout ACTION    cancel: leave the processes alone (the default); force: dump them\n"
	"      --leave-running        the processes go on after the dump\n"
	"      --jobs N               threads that copy (1)\n"
	"      --max-bandwidth RATE   bytes a second at most while the processes run, as in 800K, 200M, 1G\n"
	"      --json                 print an object for each round and one in the end, a line each\n\n"
	"Exit status: 0 the pause fits, 3 dumped though it does not, 4 cancelled, 1 failed, 2 wrong usage.\n";

struct dump {
	int pid;
	int dir;
	const char *images;
	unsigned int round;
	unsigned long timeout;
	bool force;
	bool leave_running;
	bool json;
	char **criu_options;
	int nr_criu_options;
	struct converge converge;
	struct copy_plan plan;
	double throughput;
};

static volatile sig_atomic_t timed_out;

static void on_alarm(int signal)
{
	(void)signal;
	timed_out = 1;
}

/* Nobody wants the round that is under way. */
static void on_alarm_cancel(int signal)
{
	on_alarm(signal);
	live_stop = 1;
}

/*
 * A child that is criu, in the directory of this round. Its own log lies there. Returns 0 or -EIO after a complaint.
 * What it prints is not for our stdout.
 */
static int run_criu(struct dump *dump, const char *action)
{
	char pid[16], directory[32], parent[32];
	const char *fixed[] = { "criu", action, "--track-mem", "-t", pid, "-D", NULL, "-o", "criu.log", NULL };
	char path[4096], **argv = calloc((size_t)dump->nr_criu_options + 16, sizeof(*argv));
	int status = -1, nr = 0;
	pid_t child;

	if (!argv) {
		complain("out of memory");
		return -EIO;
	}
	snprintf(pid, sizeof(pid), "%d", dump->pid);
	snprintf(directory, sizeof(directory), "%u", dump->round);
	snprintf(parent, sizeof(parent), "../%u", dump->round - 1);
	snprintf(path, sizeof(path), "%s/%s", dump->images, directory);
	fixed[6] = path;
	for (; fixed[nr]; nr++)
		argv[nr] = (char *)fixed[nr];
	if (dump->round > 1) {
		argv[nr++] = (char *)"--prev-images-dir";
		argv[nr++] = parent;
	}
	if (dump->leave_running && !strcmp(action, "dump"))
		argv[nr++] = (char *)"--leave-running";
	for (int i = 0; i < dump->nr_criu_options; i++)
		argv[nr++] = dump->criu_options[i];

	fflush(stdout);
	child = fork();
	if (!child) {
		/* Who interrupts the rounds from a terminal does not mean criu, which holds the tree frozen. */
		setsid();
		dup2(STDERR_FILENO, STDOUT_FILENO);
		_exit(exec_criu(argv));
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	free(argv);
	if (child > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	complain("criu %s failed, see %s/criu.log", action, path);
	return -EIO;
}

/* The directory of the next round. Returns it, the caller's, or -1 after a complaint. */
static int next_directory(struct dump *dump)
{
	char name[16];
	int dir;

	snprintf(name, sizeof(name), "%u", ++dump->round);
	dir = mkdirat(dump->dir, name, 0700) < 0 ? -1 : openat(dump->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		complain("cannot make the directory %s/%s: %s", dump->images, name, strerror(errno));
	return dir;
}

/*
 * One round, stopped if no task can have a live one. Returns 0 or a negative errno; it has complained, but of -EINTR.
 */
static int make_round(struct dump *dump, struct live_result *result, bool *live)
{
	struct live_request request = { .pid = dump->pid, .plan = dump->plan, .tell = live_tell };
	struct image_stats stats;
	struct files files;
	struct reason why;
	char parent[32];
	int err;

	snprintf(parent, sizeof(parent), "../%u", dump->round);
	request.parent = dump->round ? parent : NULL;
	request.dir = next_directory(dump);
	if (request.dir < 0)
		return -EIO;
	progress_round(dump->round);
	files_init(&files, request.dir);
	request.plan.sink = &files.sink;
	err = live_round(&request, result, &why);
	*live = err != -EBUSY;
	if (err == -EBUSY) {
		complain("%s: a round stops it", why.text);
		err = run_criu(dump, "pre-dump");
		if (!err)
			err = image_read_stats(request.dir, IMAGE_STATS, &stats);
		if (!err) {
			result->pages =
				(struct copy_counts){ .copied = stats.pages_written, .parent = stats.pages_parent };
			result->copying = 0;
			result->stopped = stats.stopped * 1000;
		}
	} else if (err && err != -EINTR) {
		complain("%s", why.text);
	}
	close(request.dir);
	return err;
}

/* The processes go on as if nothing had been: nothing of them is tracked any more. */
static void untrack(const struct dump *dump)
{
	struct tree tree = { 0 };
	int dropped;

	(void)tree_read(&tree, dump->pid);
	for (size_t i = 0; i < tree.nr; i++)
		(void)keeper_drop(tree.v[i].pid, &dropped, NULL);
	tree_fini(&tree);
}

static int cancel(const struct dump *dump, const char *reason)
{
	untrack(dump);
	progress_end("cancelled", reason, -1, 0);
	return EXIT_CANCELLED;
}

static int last_dump(struct dump *dump, const char *verdict, const char *reason)
{
	struct image_stats stats = { 0 };
	char last[16];
	int dir = next_directory(dump);

	if (dir < 0)
		return EXIT_FAILED;
	if (run_criu(dump, "dump")) {
		close(dir);
		return EXIT_FAILED;
	}
	if (image_read_stats(dir, IMAGE_STATS, &stats))
		complain("cannot read what criu says of the dump in %s/%u/" IMAGE_STATS, dump->images, dump->round);
	close(dir);
	snprintf(last, sizeof(last), "%u", dump->round);
	if (symlinkat(last, dump->dir, "last") < 0 || unlinkat(dump->dir, INCOMPLETE, 0) < 0) {
		complain("the dump is in %s/%s, but the directory cannot be completed: %s", dump->images, last,
			 strerror(errno));
		return EXIT_FAILED;
	}
	progress_end(verdict, reason, (double)stats.stopped / 1e3, stats.pages_written * pagescan_page_size());
	return strcmp(verdict, "converged") ? EXIT_FORCED : EXIT_SUCCESS;
}

static int go(struct dump *dump)
{
	static const char *const reasons[] = {
		[CONVERGE_FITS] = "the pause fits",
		[CONVERGE_POINTLESS] = "further rounds would not make the pause shorter",
		[CONVERGE_ENOUGH] = "as many rounds as were wanted, and the pause does not fit",
	};
	enum converge_verdict verdict = CONVERGE_GO_ON;
	struct live_result result;
	struct written written;
	struct reason why;
	double pause;
	bool live;

	while (verdict == CONVERGE_GO_ON) {
		int err = make_round(dump, &result, &live);

		if (err == -EINTR)
			return cancel(dump, timed_out ? "the time is over" : "interrupted");
		if (err)
			return EXIT_FAILED;
		if (result.copying && result.pages.copied * pagescan_page_size() >= TELLING_BYTES)
			dump->throughput =
				(double)(result.pages.copied * pagescan_page_size()) * 1e9 / (double)result.copying;
		if (written_read(&written, dump->pid, &why)) {
			complain("%s", why.text);
			return EXIT_FAILED;
		}
		pause = converge_pause(&written, dump->throughput);
		progress_round_done(live, &result, &written, pause, dump->throughput);
		verdict = converge_decide(&dump->converge, pause);
		if (timed_out && verdict != CONVERGE_FITS)
			return dump->force ? last_dump(dump, "forced", "the time is over") :
					     cancel(dump, "the time is over");
	}
	return last_dump(dump, verdict == CONVERGE_FITS ? "converged" : "forced", reasons[verdict]);
}

enum { LIMIT = 256, ROUNDS, TIMEOUT, ON_TIMEOUT, LEAVE, JOBS, RATE, JSON };

/* One option. Returns whether it is right; it has complained. */
static bool take_option(struct dump *dump, int option)
{
	unsigned long number;

	switch (option) {
	case 't':
		dump->pid = parse_pid(optarg);
		return dump->pid;
	case 'D':
		dump->images = optarg;
		return true;
	case LIMIT:
		if (parse_number("downtime-limit", optarg, 1, 3600000, &number))
			return false;
		dump->converge.limit = (double)number / 1e3;
		return true;
	case ROUNDS:
		if (parse_number("max-rounds", optarg, 1, 10000, &number))
			return false;
		dump->converge.max_rounds = (unsigned int)number;
		return true;
	case TIMEOUT:
		return !parse_number("timeout", optarg, 1, 1000000, &dump->timeout);
	case ON_TIMEOUT:
		dump->force = !strcmp(optarg, "force");
		if (!dump->force && strcmp(optarg, "cancel"))
			complain("--on-timeout wants cancel or force, not '%s'", optarg);
		return dump->force || !strcmp(optarg, "cancel");
	case JOBS:
		if (parse_number("jobs", optarg, 1, COPY_JOBS, &number))
			return false;
		dump->plan.jobs = (unsigned int)number;
		return true;
	case RATE:
		dump->plan.rate = parse_rate(optarg);
		return dump->plan.rate;
	case LEAVE:
		dump->leave_running = true;
		return true;
	case JSON:
		dump->json = true;
		return true;
	default:
		return false;
	}
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct dump *dump)
{
	static const struct option known[] = {
		{ "tree", required_argument, NULL, 't' },
		{ "images-dir", required_argument, NULL, 'D' },
		{ "downtime-limit", required_argument, NULL, LIMIT },
		{ "max-rounds", required_argument, NULL, ROUNDS },
		{ "timeout", required_argument, NULL, TIMEOUT },
		{ "on-timeout", required_argument, NULL, ON_TIMEOUT },
		{ "leave-running", no_argument, NULL, LEAVE },
		{ "jobs", required_argument, NULL, JOBS },
		{ "max-bandwidth", required_argument, NULL, RATE },
		{ "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "t:D:h", known, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (!take_option(dump, option))
			return EXIT_USAGE;
	}
	dump->criu_options = argv + optind;
	dump->nr_criu_options = argc - optind;
	if (!dump->pid || !dump->images || (optind < argc && strcmp(argv[optind - 1], "--"))) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* Mark the directory until all is done. Returns whether that could be. */
static bool mark_incomplete(const struct dump *dump)
{
	int fd = openat(dump->dir, INCOMPLETE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		complain("cannot write to the directory %s: %s", dump->images, strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

int cmd_dump(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_alarm_cancel };
	struct dump dump = {
		.converge.limit = 0.3,
		.plan = { .jobs = 1, .stop = &live_stop, .progress = progress_copied },
		.throughput = ASSUMED_THROUGHPUT,
	};
	int status = parse(argc, argv, &dump), process;

	if (status >= 0)
		return status;
	process = open_process(dump.pid);
	if (process < 0)
		return EXIT_FAILED;
	close(process);
	dump.dir = live_images(dump.images);
	if (dump.dir < 0)
		return EXIT_FAILED;
	live_heed_signals();
	if (dump.force)
		action.sa_handler = on_alarm;
	sigaction(SIGALRM, &action, NULL);
	alarm((unsigned int)dump.timeout);
	progress_begin(dump.json, dump.converge.limit);
	status = mark_incomplete(&dump) ? go(&dump) : EXIT_FAILED;
	if (status == EXIT_FAILED)
		untrack(&dump);
	close(dump.dir);
	return status;
}
