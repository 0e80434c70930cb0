/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rounds.h - live rounds until it is time for the last dump, as `pagescan dump` and `pagescan migrate` make them.
 *
 * One directory holds all: rounds 1, 2, ..., each the parent of the next.
 */
#ifndef PAGESCAN_CMD_ROUNDS_H
#define PAGESCAN_CMD_ROUNDS_H

#include "container.h"
#include "copy/converge.h"
#include "copy/files.h"
#include "copy/live_round.h"
#include "copy/server.h"

/*
 * What is wanted, and how far it is. @container: what the tree is, whose runtime runs criu then; without a name it is
 * none. @dir and @images: the directory of all rounds, open, and its path, for messages
 * and criu. @round: the last one that was begun. @timeout: seconds for all rounds, 0 for no limit; then the dump is
 * forced or cancelled. @throughput: bytes a second, as measured so far. @extra_pause: seconds that a pause takes beyond
 * a dump's. @leave_running: the processes go on after the dump.
 *
 * Where they are not NULL: @open is called when a round begins in directory @dir and tells its sink, which is @files
 * otherwise; @close when it is over, with its result; it may find that another round is wanted before the dump (1).
 * Both return a negative errno after a complaint, or -EINTR without one. @context is theirs. @server: the connection
 * that criu goes on with, NULL where its pages stay here.
 */
struct rounds {
	int pid;
	struct container container;
	int dir;
	const char *images;
	unsigned int round;
	unsigned long timeout;
	bool force;
	char **criu_options;
	int nr_criu_options;
	struct converge converge;
	struct copy_plan plan;
	double throughput;
	double extra_pause;
	bool leave_running;
	struct files files;
	int (*open)(struct rounds *rounds, int dir);
	int (*close)(struct rounds *rounds, int dir, int result);
	void *context;
	struct server *server;
};

/* What to start with. */
#define ROUNDS_INIT                                                                                        \
	{                                                                                                  \
		.dir = -1, .converge.limit = 0.3,                                                          \
		.plan = { .jobs = 1, .stop = &live_stop, .progress = progress_copied }, .throughput = 1e9, \
	}

/*
 * Options that both commands have, for getopt_long(3): -t, and the numbers from ROUNDS_OPTION on.
 * rounds_option() returns -1 if @option is not one of them, 0 if it is wrong (it has complained), 1.
 */
#define ROUNDS_OPTION 256
#define ROUNDS_OPTIONS                                                                                          \
	{ "tree", required_argument, NULL, 't' }, { "downtime-limit", required_argument, NULL, ROUNDS_OPTION }, \
		{ "max-rounds", required_argument, NULL, ROUNDS_OPTION + 1 },                                   \
		{ "timeout", required_argument, NULL, ROUNDS_OPTION + 2 },                                      \
		{ "on-timeout", required_argument, NULL, ROUNDS_OPTION + 3 },                                   \
		{ "jobs", required_argument, NULL, ROUNDS_OPTION + 4 },                                         \
	{                                                                                                       \
		"max-bandwidth", required_argument, NULL, ROUNDS_OPTION + 5                                     \
	}
#define ROUNDS_NEXT_OPTION (ROUNDS_OPTION + 6)

int rounds_option(struct rounds *rounds, int option, const char *argument);

/*
 * Make rounds. Signals and the time limit are heeded from here on. *reason: why they are over, in words.
 * FAILED: it has complained.
 */
enum rounds_end { ROUNDS_CONVERGED, ROUNDS_FORCED, ROUNDS_CANCELLED, ROUNDS_FAILED };
enum rounds_end rounds_make(struct rounds *rounds, const char **reason);

/* The directory of the next round. Returns it, the caller's, or -1 after a complaint. */
int rounds_next_directory(struct rounds *rounds);

/*
 * Start criu in the directory of this round, with the round before as its parent; @action: pre-dump or dump. @options:
 * more of them, ending with NULL. Its log lies there. Returns its pid, or -1 after a complaint. Of a container it is the
 * runtime, which has other options; its dump runs the migration's action script.
 */
pid_t rounds_start_criu(const struct rounds *rounds, const char *action, char *const options[]);

/* The name of criu's log there. */
const char *rounds_log(const struct rounds *rounds);

/* Wait for it. Returns 0 or -EIO after a complaint. */
int rounds_wait_criu(const struct rounds *rounds, const char *action, pid_t child);

/* The processes go on as if nothing had been: nothing of them is tracked any more. */
void rounds_untrack(const struct rounds *rounds);

#endif
