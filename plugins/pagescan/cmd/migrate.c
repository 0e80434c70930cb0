// SPDX-License-Identifier: GPL-2.0-only
/*
 * migrate.c - pagescan migrate: move a running process tree to another machine. Calls rounds, container, handover, peer,
 * tcp, send, wire, known, outline, progress, claim.
 *
 * Rounds go over while the processes run, and are held ready there. Then what is left is dumped and handed over.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "claim.h"
#include "cmd.h"
#include "copy/tree.h"
#include "handover.h"
#include "image/flatten.h"
#include "land/outline.h"
#include "live.h"
#include "move/send.h"
#include "progress.h"
#include "peer.h"
#include "rounds.h"
#include "tcp.h"
#include "track/identity.h"

/* An end that says nothing for so long, not even that it lives, is lost. */
#define PATIENCE_MS 30000

/* What a restore takes of memory that is held ready, seconds, on the machine of docs/performance.md. */
#define RESTORE_S 0.15

static const char usage[] =
	"Usage: pagescan migrate -t PID HOST:DIRECTORY [OPTIONS] [-- CRIU'S OPTIONS]\n"
	"       pagescan migrate --container NAME HOST:DIRECTORY [OPTIONS] [-- THE RUNTIME'S OPTIONS]\n"
	"Moves a process and its descendants to another machine while they run: copies their memory in rounds, which "
	"the\n"
	"other machine holds ready, stops them for the rest, and lets them go on there. DIRECTORY, on the other "
	"machine,\n"
	"gets the images. Until the processes run there they are not ended here.\n\n"
	"  -t, --tree PID             the root of the tree\n"
	"      --container NAME       a container instead, dumped and restored by its runtime\n"
	"      --runtime COMMAND      runc or another one with its commands, perhaps with options (runc)\n"
	"      --bundle DIR           the container's bundle there (where it is here)\n"
	"      --downtime-limit MS    the pause that is wanted, in milliseconds (300)\n"
	"      --max-rounds N         no more rounds than these before the dump\n"
	"      --timeout S            seconds for all rounds; then what --on-timeout says\n"
	"      --on-timeout ACTION    cancel: leave the processes alone (the default); force: move them\n"
	"      --jobs N               threads that copy (1)\n"
	"      --tcp[=ADDRESS][:PORT] pages go over N encrypted connections of their own, to this address of the "
	"other\n"
	"                             machine (that of HOST) and port (any)\n"
	"      --max-bandwidth RATE   bytes a second at most while the processes run, as in 800K, 200M, 1G\n"
	"      --compress lz4         send what becomes smaller compressed\n"
	"      --base DIR             images there, of before: pages that they hold are not sent\n"
	"      --no-warm              do not hold the memory ready there: a plain restore from the images\n"
	"      --rsh COMMAND          what runs a command on the other machine (ssh)\n"
	"      --remote-pagescan PATH pagescan there (pagescan)\n"
	"      --work-dir DIR         what is kept here meanwhile: an empty directory (one in $TMPDIR or /tmp)\n"
	"      --json                 print an object for each round and one in the end, a line each\n\n"
	"CRIU's options go to both dump and restore, a runtime's to its checkpoint and restore.\n"
	"Exit status: 0 moved, the pause fits; 3 moved though it may not; 4 cancelled, the processes go on here; 1 "
	"failed,\n"
	"they go on here; 2 wrong usage.\n";

struct migrate {
	struct rounds rounds;
	struct peer peer;
	struct send send;
	struct wire wire;
	struct tcp tcp;
	pid_t child;
	bool compress;
	const char *base;
	struct known known;
	bool no_warm;
	bool json;
	struct handover handover;
	char work[4096];
};

static int complained(const struct reason *why, int err)
{
	if (err)
		complain("%s", why->text);
	return err;
}

/* What the landing has to know ahead of time, of each task that has images in this round. */
static int write_outlines(const struct migrate *migrate, int dir, struct reason *why)
{
	struct tree tree = { 0 };
	int err = tree_read(&tree, migrate->rounds.pid);

	for (size_t i = 0; err >= 0 && i < tree.nr; i++) {
		int proc = tree_open(&tree.v[i]), pid = proc < 0 ? proc : identity_status(proc, "NSpid");
		struct outline outline = { 0 };
		char name[32];

		snprintf(name, sizeof(name), "pagemap-%d.img", pid);
		/* One that ends meanwhile needs none. */
		if (pid > 0 && !faccessat(dir, name, F_OK, 0) && !outline_read(proc, &outline))
			err = outline_write(dir, pid, &outline);
		outline_fini(&outline);
		if (proc >= 0)
			close(proc);
	}
	tree_fini(&tree);
	return err < 0 ? reason_set(why, err, "cannot write an image: %s", strerror(-err)) : 0;
}

static int open_round(struct rounds *rounds, int dir)
{
	struct migrate *migrate = rounds->context;
	struct reason why;

	(void)dir;
	rounds->plan.sink = &migrate->send.sink;
	return complained(&why, send_round(&migrate->send, &rounds->files, rounds->round, &why));
}

/* The round goes over, and is held ready there before the next one begins; here it is a parent from now on, no more. */
static int close_round(struct rounds *rounds, int dir, int result)
{
	struct migrate *migrate = rounds->context;
	struct reason why;
	int err;

	if (result < 0)
		return 0;
	err = write_outlines(migrate, dir, &why);
	if (!err && rounds->container.name && rounds->round == 1)
		err = container_describe(dir, rounds->pid, &why);
	if (!err)
		err = send_directory(&migrate->send, dir, result > 0, WIRE_ROUND_END, &why);
	if (!err && (err = image_flatten(dir)))
		reason_set(&why, err, "cannot make the images of a round shorter: %s", strerror(-err));
	do {
		if (!err)
			err = peer_hear(&migrate->wire, WIRE_TAKEN, &why);
	} while (!err && wire_number(&migrate->wire, 0, 4) != rounds->round);
	return complained(&why, err);
}

static void tell_end(const struct migrate *migrate, const char *verdict, const char *reason)
{
	const struct handover *times = &migrate->handover;
	const struct downtime downtime = { .dump = (times->dumped - times->frozen_since) * 1e3,
					   .restore = (times->restored - times->dumped) * 1e3,
					   .resume = (times->running - times->restored) * 1e3 };

	progress_moved(verdict, reason, &downtime, migrate->send.bytes);
}

static int go(struct migrate *migrate)
{
	struct reason why = { "" };
	const char *reason;
	const enum rounds_end end = rounds_make(&migrate->rounds, &reason);
	int err;

	if (end == ROUNDS_FAILED)
		return EXIT_FAILED;
	if (end == ROUNDS_CANCELLED) {
		progress_end("cancelled", reason, -1, 0);
		return EXIT_CANCELLED;
	}
	migrate->handover.wire = &migrate->wire;
	migrate->handover.send = &migrate->send;
	err = handover(&migrate->handover, &migrate->rounds, &why);
	if (err) {
		complain("not moved, the processes go on here: %s", why.text);
		if (err == -EINTR)
			progress_end("cancelled", why.text, -1, 0);
		return err == -EINTR ? EXIT_CANCELLED : EXIT_FAILED;
	}
	tell_end(migrate, end == ROUNDS_CONVERGED ? "converged" : "forced", reason);
	return end == ROUNDS_CONVERGED ? EXIT_SUCCESS : EXIT_FORCED;
}

/* What of the pages to come the other end has: it reads them now, and says meanwhile that it lives. */
static int hear_of_base(struct migrate *migrate, struct reason *why)
{
	int err = digest_load(why), more = 1;

	while (!err && more > 0) {
		err = peer_hear(&migrate->wire, WIRE_KNOWN, why);
		if (!err)
			more = known_hear(&migrate->known, &migrate->wire, why);
	}
	migrate->send.known = &migrate->known;
	return err ? err : more;
}

/* Start the other end, and hear that it is one. */
static int connect_destination(struct migrate *migrate)
{
	const struct container *container = &migrate->rounds.container;
	const char *const of_container[] = { "--container",	 container->name, "--runtime",
					     container->runtime, "--bundle",	  container->bundle };
	char *settle_options[] = { (char *)"--settle", NULL };
	char **options = calloc((size_t)migrate->rounds.nr_criu_options + 11, sizeof(*options)), **argv;
	struct reason why = { "out of memory" };
	int nr = 0, in = -1, out = -1, err = -ENOMEM;

	if (options && migrate->no_warm)
		options[nr++] = (char *)"--no-warm";
	if (options && migrate->base) {
		options[nr++] = (char *)"--base";
		options[nr++] = (char *)migrate->base;
	}
	for (size_t i = 0; options && container->name && i < sizeof(of_container) / sizeof(*of_container); i++)
		options[nr++] = (char *)of_container[i];
	if (options && migrate->rounds.nr_criu_options)
		options[nr++] = (char *)"--";
	for (int i = 0; options && i < migrate->rounds.nr_criu_options; i++)
		options[nr++] = migrate->rounds.criu_options[i];
	argv = options ? peer_command(&migrate->peer, options) : NULL;
	migrate->handover.settle = peer_command(&migrate->peer, settle_options);
	if (argv && migrate->handover.settle) {
		migrate->child = peer_start(argv, &in, &out);
		err = migrate->child < 0 ? -EIO : wire_init(&migrate->wire, in, out, PATIENCE_MS);
		if (!err)
			fcntl(out, F_SETFL, O_NONBLOCK);
		if (!err)
			err = wire_hello(&migrate->wire, &why);
	}
	if (!err && migrate->base)
		err = hear_of_base(migrate, &why);
	if (!err && migrate->tcp.wanted)
		err = tcp_open(&migrate->tcp, migrate->peer.host, migrate->rounds.plan.jobs, &migrate->wire, &why);
	if (!err)
		send_pages_over(&migrate->send, migrate->tcp.lanes, migrate->tcp.nr);
	free(options);
	peer_free(argv);
	if (err)
		complain("cannot begin at %s: %s", migrate->peer.host, why.text);
	/* An audit of the dump wants images with pages: those are there, not here. */
	unsetenv("PAGESCAN_VERIFY");
	return err;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static bool make_work_directory(struct migrate *migrate)
{
	const char *tmp = getenv("TMPDIR");
	struct reason why;
	int err;

	if (!migrate->work[0]) {
		snprintf(migrate->work, sizeof(migrate->work), "%s/pagescan-XXXXXX", tmp && *tmp ? tmp : "/tmp");
		if (!mkdtemp(migrate->work)) {
			complain("cannot make the directory %s: %s", migrate->work, strerror(errno));
			migrate->work[0] = '\0';
			return false;
		}
	}
	migrate->rounds.images = migrate->work;
	migrate->rounds.dir = live_images(migrate->work);
	if (migrate->rounds.dir < 0)
		return false;
	if (!migrate->rounds.container.name)
		return true;
	err = container_prepare(migrate->rounds.dir, migrate->work, &why);
	if (!err)
		err = container_probe(&migrate->rounds.container, migrate->rounds.dir, migrate->work, false, &why);
	return !complained(&why, err);
}

enum { COMPRESS = ROUNDS_NEXT_OPTION, BASE, NO_WARM, RSH, PROGRAM, WORK, JSON, TCP, CONTAINER, RUNTIME, BUNDLE };

/* One option. Returns whether it is right; it has complained. */
static bool take_option(struct migrate *migrate, int option)
{
	switch (option) {
	case COMPRESS:
		migrate->compress = !strcmp(optarg, "lz4");
		if (!migrate->compress)
			complain("--compress knows lz4, not '%s'", optarg);
		return migrate->compress;
	case BASE:
		migrate->base = optarg;
		return true;
	case NO_WARM:
		migrate->no_warm = true;
		return true;
	case RSH:
		migrate->peer.rsh = optarg;
		return true;
	case PROGRAM:
		migrate->peer.program = optarg;
		return true;
	case WORK:
		return realpath(optarg, migrate->work) || (!mkdir(optarg, 0700) && realpath(optarg, migrate->work)) ||
		       (complain("cannot make the directory %s: %s", optarg, strerror(errno)), false);
	case JSON:
		migrate->json = true;
		return true;
	case TCP:
		return tcp_option(&migrate->tcp, optarg);
	case CONTAINER:
		migrate->rounds.container.name = optarg;
		return true;
	case RUNTIME:
		migrate->rounds.container.runtime = optarg;
		return true;
	case BUNDLE:
		migrate->rounds.container.bundle = optarg;
		return true;
	default:
		return rounds_option(&migrate->rounds, option, optarg) > 0;
	}
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct migrate *migrate)
{
	static const struct option known[] = {
		ROUNDS_OPTIONS,
		{ "compress", required_argument, NULL, COMPRESS },
		{ "base", required_argument, NULL, BASE },
		{ "no-warm", no_argument, NULL, NO_WARM },
		{ "rsh", required_argument, NULL, RSH },
		{ "remote-pagescan", required_argument, NULL, PROGRAM },
		{ "work-dir", required_argument, NULL, WORK },
		{ "json", no_argument, NULL, JSON },
		{ "tcp", optional_argument, NULL, TCP },
		{ "container", required_argument, NULL, CONTAINER },
		{ "runtime", required_argument, NULL, RUNTIME },
		{ "bundle", required_argument, NULL, BUNDLE },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	char *destination = NULL;
	int option;

	/* "-": what is no option comes as one, in its place. */
	while ((option = getopt_long(argc, argv, "-t:h", known, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (option == 1 && !destination) {
			destination = optarg;
		} else if (option == 1) {
			fputs(usage, stderr);
			return EXIT_USAGE;
		} else if (!take_option(migrate, option)) {
			return EXIT_USAGE;
		}
	}
	migrate->rounds.criu_options = argv + optind;
	migrate->rounds.nr_criu_options = argc - optind;
	if (!migrate->rounds.pid == !migrate->rounds.container.name || !destination) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return peer_parse(&migrate->peer, destination) ? -1 : EXIT_USAGE;
}

int cmd_migrate(int argc, char **argv)
{
	struct migrate migrate = {
		.rounds = ROUNDS_INIT,
		.peer = { .rsh = "ssh", .program = "pagescan" },
		.child = -1,
		.wire = { .in = -1, .out = -1 },
		.known = { .dir = -1 },
	};
	int status, process;

	migrate.rounds.container.runtime = "runc";
	status = parse(argc, argv, &migrate);
	if (status >= 0)
		return status;
	if (migrate.rounds.container.name)
		migrate.rounds.pid = container_find(&migrate.rounds.container);
	if (!migrate.rounds.pid)
		return EXIT_FAILED;
	process = open_process(migrate.rounds.pid);
	if (process < 0)
		return EXIT_FAILED;
	close(process);
	if (!claim_tree(migrate.rounds.pid))
		return EXIT_FAILED;
	signal(SIGPIPE, SIG_IGN);
	migrate.rounds.context = &migrate;
	migrate.rounds.open = open_round;
	migrate.rounds.close = close_round;
	migrate.rounds.extra_pause = RESTORE_S;
	send_init(&migrate.send, &migrate.wire, migrate.compress);
	progress_begin(migrate.json, migrate.rounds.converge.limit);
	status = make_work_directory(&migrate) && !connect_destination(&migrate) ? go(&migrate) : EXIT_FAILED;
	if (status == EXIT_FAILED || status == EXIT_CANCELLED)
		rounds_untrack(&migrate.rounds);
	/* The other end ends by this. */
	close(migrate.wire.in);
	close(migrate.wire.out);
	if (migrate.child > 0)
		waitpid(migrate.child, NULL, 0);
	tcp_close(&migrate.tcp);
	wire_fini(&migrate.wire);
	known_fini(&migrate.known);
	peer_free(migrate.handover.settle);
	if (migrate.work[0] && status != EXIT_FAILED)
		nftw(migrate.work, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return status;
}
