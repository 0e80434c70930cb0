// SPDX-License-Identifier: GPL-2.0-only
/*
 * dump.c - pagescan dump: live rounds until the pause is short, then criu's own dump. Calls rounds, live, progress,
 * page_server, claim.
 *
 * One directory holds all: rounds 1, 2, ..., each the parent of the next, and `last`, a link to the dump, in the end.
 * While a file named `incomplete` is there it is not what its user asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "claim.h"
#include "cmd.h"
#include "image/image.h"
#include "live.h"
#include "page_server.h"
#include "progress.h"
#include "rounds.h"

#define INCOMPLETE "incomplete"

/* From one round to the next, until the page server of the next one listens. */
#define SERVER_PATIENCE_S 10

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
	"      --page-server          send the pages to criu page-servers, one after the other, one a round\n"
	"      --address ADDRESS      where they listen\n"
	"      --port PORT\n"
	"      --jobs N               threads that copy (1)\n"
	"      --max-bandwidth RATE   bytes a second at most while the processes run, as in 800K, 200M, 1G\n"
	"      --json                 print an object for each round and one in the end, a line each\n\n"
	"Exit status: 0 the pause fits, 3 dumped though it does not, 4 cancelled, 1 failed, 2 wrong usage.\n";

struct dump {
	struct rounds rounds;
	struct page_server page_server;
	struct server server;
	bool json;
};

/* For struct rounds, where pages go to page servers. */
static int open_round(struct rounds *rounds, int dir)
{
	struct dump *dump = rounds->context;
	const unsigned int patience = rounds->round > 1 ? SERVER_PATIENCE_S : 0;
	struct reason why;
	int err = page_server_connect(&dump->page_server, patience, &dump->server, &why);

	(void)dir;
	if (err && err != -EINTR)
		complain("%s", why.text);
	rounds->server = err ? NULL : &dump->server;
	rounds->plan.sink = &dump->server.sink;
	return err;
}

static int close_round(struct rounds *rounds, int dir, int result)
{
	(void)dir;
	(void)result;
	if (rounds->server)
		server_close(rounds->server);
	rounds->server = NULL;
	return 0;
}

static int cancel(const struct dump *dump, const char *reason)
{
	rounds_untrack(&dump->rounds);
	progress_end("cancelled", reason, -1, 0);
	return EXIT_CANCELLED;
}

static int last_dump(struct dump *dump, enum rounds_end end, const char *reason)
{
	char *const options[] = { dump->rounds.leave_running ? (char *)"--leave-running" : NULL, NULL };
	struct rounds *rounds = &dump->rounds;
	struct image_stats stats = { 0 };
	char last[16];
	int dir = rounds_next_directory(rounds), err;

	if (dir < 0)
		return EXIT_FAILED;
	err = rounds->open ? rounds->open(rounds, dir) : 0;
	if (!err)
		err = rounds_wait_criu(rounds, "dump", rounds_start_criu(rounds, "dump", options));
	if (rounds->close)
		rounds->close(rounds, dir, err);
	if (err) {
		close(dir);
		return err == -EINTR ? cancel(dump, "interrupted") : EXIT_FAILED;
	}
	if (image_read_stats(dir, IMAGE_STATS, &stats))
		complain("cannot read what criu says of the dump in %s/%u/" IMAGE_STATS, rounds->images, rounds->round);
	close(dir);
	snprintf(last, sizeof(last), "%u", rounds->round);
	if (symlinkat(last, rounds->dir, "last") < 0 || unlinkat(rounds->dir, INCOMPLETE, 0) < 0) {
		complain("the dump is in %s/%s, but the directory cannot be completed: %s", rounds->images, last,
			 strerror(errno));
		return EXIT_FAILED;
	}
	progress_end(end == ROUNDS_CONVERGED ? "converged" : "forced", reason, (double)stats.stopped / 1e3,
		     stats.pages_written * pagescan_page_size());
	return end == ROUNDS_CONVERGED ? EXIT_SUCCESS : EXIT_FORCED;
}

static int go(struct dump *dump)
{
	const char *reason;
	const enum rounds_end end = rounds_make(&dump->rounds, &reason);

	switch (end) {
	case ROUNDS_FAILED:
		return EXIT_FAILED;
	case ROUNDS_CANCELLED:
		return cancel(dump, reason);
	default:
		return last_dump(dump, end, reason);
	}
}

enum { LEAVE = ROUNDS_NEXT_OPTION, SERVER, ADDRESS, PORT, JSON };

/* One option. Returns whether it is right; it has complained. */
static bool take_option(struct dump *dump, int option)
{
	switch (option) {
	case 'D':
		dump->rounds.images = optarg;
		return true;
	case SERVER:
		dump->page_server.wanted = true;
		return true;
	case ADDRESS:
		dump->page_server.address = optarg;
		return true;
	case PORT:
		dump->page_server.port = optarg;
		return true;
	case LEAVE:
		dump->rounds.leave_running = true;
		return true;
	case JSON:
		dump->json = true;
		return true;
	default:
		return rounds_option(&dump->rounds, option, optarg) > 0;
	}
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct dump *dump)
{
	static const struct option known[] = {
		ROUNDS_OPTIONS,
		{ "images-dir", required_argument, NULL, 'D' },
		{ "leave-running", no_argument, NULL, LEAVE },
		{ "page-server", no_argument, NULL, SERVER },
		{ "address", required_argument, NULL, ADDRESS },
		{ "port", required_argument, NULL, PORT },
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
	dump->rounds.criu_options = argv + optind;
	dump->rounds.nr_criu_options = argc - optind;
	if (!dump->rounds.pid || !dump->rounds.images || (optind < argc && strcmp(argv[optind - 1], "--"))) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return page_server_is_whole(&dump->page_server) ? -1 : EXIT_USAGE;
}

/* Mark the directory until all is done. Returns whether that could be. */
static bool mark_incomplete(const struct rounds *rounds)
{
	int fd = openat(rounds->dir, INCOMPLETE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		complain("cannot write to the directory %s: %s", rounds->images, strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

int cmd_dump(int argc, char **argv)
{
	struct dump dump = { .rounds = ROUNDS_INIT };
	int status = parse(argc, argv, &dump), process;

	if (status >= 0)
		return status;
	process = open_process(dump.rounds.pid);
	if (process < 0)
		return EXIT_FAILED;
	close(process);
	if (!claim_tree(dump.rounds.pid))
		return EXIT_FAILED;
	dump.rounds.dir = live_images(dump.rounds.images);
	if (dump.rounds.dir < 0)
		return EXIT_FAILED;
	if (dump.page_server.wanted) {
		dump.rounds.context = &dump;
		dump.rounds.open = open_round;
		dump.rounds.close = close_round;
	}
	progress_begin(dump.json, dump.rounds.converge.limit);
	status = mark_incomplete(&dump.rounds) ? go(&dump) : EXIT_FAILED;
	if (status == EXIT_FAILED)
		rounds_untrack(&dump.rounds);
	close(dump.rounds.dir);
	return status;
}
