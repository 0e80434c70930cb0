// SPDX-License-Identifier: GPL-2.0-only
/*
 * rounds.c - live rounds until the pause is short. Calls container, live, live_round, files, written, converge, progress,
 * release, find, exec_criu.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind/round.h"
#include "cmd.h"
#include "copy/tree.h"
#include "image/image.h"
#include "live.h"
#include "progress.h"
#include "rounds.h"
#include "track/release.h"

/* Rounds that copied less say nothing of how fast copying is. */
#define TELLING_BYTES (16UL << 20)

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

static int exec_checkpoint(const struct rounds *rounds, const char *action, char *path, char *parent)
{
	const bool is_dump = !strcmp(action, "dump");
	char *fixed[8] = { (char *)"checkpoint", (char *)"--image-path", path };
	int nr = 3;

	if (parent) {
		fixed[nr++] = (char *)"--parent-path";
		fixed[nr++] = parent;
	}
	if (!is_dump)
		fixed[nr++] = (char *)"--pre-dump";
	return container_exec(&rounds->container, rounds->images, is_dump, fixed, rounds->criu_options,
			      rounds->nr_criu_options);
}

const char *rounds_log(const struct rounds *rounds)
{
	return rounds->container.name ? "dump.log" : "criu.log";
}

pid_t rounds_start_criu(const struct rounds *rounds, const char *action, char *const options[])
{
	char pid[16], parent[32], path[4096], sock[16];
	const char *fixed[] = { "criu", action, "--track-mem", "-t", pid, "-D", path, "-o", "criu.log", NULL };
	char **argv = calloc((size_t)rounds->nr_criu_options + 32, sizeof(*argv));
	int nr = 0;
	pid_t child;

	if (!argv) {
		complain("out of memory");
		return -1;
	}
	snprintf(pid, sizeof(pid), "%d", rounds->pid);
	snprintf(parent, sizeof(parent), "../%u", rounds->round - 1);
	snprintf(path, sizeof(path), "%s/%u", rounds->images, rounds->round);
	for (; fixed[nr]; nr++)
		argv[nr] = (char *)fixed[nr];
	if (rounds->round > 1) {
		argv[nr++] = (char *)"--prev-images-dir";
		argv[nr++] = parent;
	}
	/* A page server waits for its one client, and that is us. */
	if (rounds->server) {
		snprintf(sock, sizeof(sock), "%d", server_for_criu(rounds->server));
		argv[nr++] = (char *)"--page-server";
		argv[nr++] = (char *)"--ps-socket";
		argv[nr++] = sock;
	}
	for (; *options; options++)
		argv[nr++] = *options;
	for (int i = 0; i < rounds->nr_criu_options; i++)
		argv[nr++] = rounds->criu_options[i];

	fflush(stdout);
	child = fork();
	if (!child) {
		/* Who interrupts the rounds from a terminal does not mean criu, which holds the tree frozen. */
		setsid();
		/* What it prints is not for our stdout. */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		if (!strcmp(action, "dump") && !rounds->leave_running)
			setenv(LAST_VARIABLE, "1", 1);
		if (rounds->container.name)
			_exit(exec_checkpoint(rounds, action, path, rounds->round > 1 ? parent : NULL));
		if (rounds->server)
			fcntl(rounds->server->sock, F_SETFD, 0);
		_exit(exec_criu(argv));
	}
	free(argv);
	if (child < 0)
		complain("cannot start criu: %s", strerror(errno));
	return child;
}

int rounds_wait_criu(const struct rounds *rounds, const char *action, pid_t child)
{
	int status = -1;

	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	complain("criu %s failed, see %s/%u/%s", action, rounds->images, rounds->round, rounds_log(rounds));
	return -EIO;
}

int rounds_next_directory(struct rounds *rounds)
{
	char name[16];
	int dir;

	snprintf(name, sizeof(name), "%u", ++rounds->round);
	dir = mkdirat(rounds->dir, name, 0700) < 0 ? -1 : openat(rounds->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		complain("cannot make the directory %s/%s: %s", rounds->images, name, strerror(errno));
	return dir;
}

/* No task of the tree can have a live round. */
static int stopped_round(const struct rounds *rounds, int dir, struct live_result *result)
{
	char *const none[] = { NULL };
	struct image_stats stats;
	int err = rounds_wait_criu(rounds, "pre-dump", rounds_start_criu(rounds, "pre-dump", none));

	if (!err)
		err = image_read_stats(dir, IMAGE_STATS, &stats);
	if (err)
		return err;
	result->pages = (struct copy_counts){ .copied = stats.pages_written, .parent = stats.pages_parent };
	result->copying = 0;
	result->stopped = stats.stopped * 1000;
	return 0;
}

/*
 * One round, stopped if no task can have a live one. Returns 0, 1 (another one is wanted), or a negative errno; it has
 * complained, but of -EINTR.
 */
static int make_round(struct rounds *rounds, struct live_result *result, bool *live)
{
	struct live_request request = { .pid = rounds->pid, .tell = live_tell };
	struct reason why;
	char parent[32];
	int err;

	snprintf(parent, sizeof(parent), "../%u", rounds->round);
	request.parent = rounds->round ? parent : NULL;
	request.dir = rounds_next_directory(rounds);
	if (request.dir < 0)
		return -EIO;
	progress_round(rounds->round);
	files_init(&rounds->files, request.dir);
	rounds->plan.sink = &rounds->files.sink;
	err = rounds->open ? rounds->open(rounds, request.dir) : 0;
	request.plan = rounds->plan;
	if (!err) {
		err = live_round(&request, result, &why);
		*live = err != -EBUSY;
		if (err && err != -EINTR)
			complain("%s%s", why.text, *live ? "" : ": a round stops it");
		if (!*live)
			err = stopped_round(rounds, request.dir, result);
	}
	if (rounds->close) {
		const int closed = rounds->close(rounds, request.dir, err ? err : *live);

		err = err ? err : closed;
	}
	close(request.dir);
	return err;
}

void rounds_untrack(const struct rounds *rounds)
{
	struct tree tree = { 0 };
	int dropped;

	(void)tree_read(&tree, rounds->pid);
	for (size_t i = 0; i < tree.nr; i++)
		(void)release(tree.v[i].pid, &dropped, NULL);
	tree_fini(&tree);
}

/* After a round: what has been written, and what follows from it. Returns 0 or -EIO after a complaint. */
static int decide(struct rounds *rounds, const struct live_result *result, bool live, enum converge_verdict *verdict)
{
	/* What was not sent says nothing of how fast sending is. */
	const uint64_t bytes = (result->pages.copied - result->pages.spared) * pagescan_page_size();
	struct written written;
	struct reason why;
	double pause, copying;

	if (result->copying && bytes >= TELLING_BYTES)
		rounds->throughput = (double)bytes * 1e9 / (double)result->copying;
	if (written_read(&written, rounds->pid, &why)) {
		complain("%s", why.text);
		return -EIO;
	}
	pause = converge_pause(&written, rounds->throughput, &copying) + rounds->extra_pause;
	progress_round_done(live, result, &written, pause, rounds->throughput);
	*verdict = converge_decide(&rounds->converge, pause, copying);
	/* Where time is short, none of it is spent on what is not needed. */
	if (*verdict == CONVERGE_BETTER && rounds->timeout)
		*verdict = CONVERGE_FITS;
	return 0;
}

static void heed_time(const struct rounds *rounds)
{
	const struct sigaction action = { .sa_handler = rounds->force ? on_alarm : on_alarm_cancel };

	live_heed_signals();
	sigaction(SIGALRM, &action, NULL);
	alarm((unsigned int)rounds->timeout);
}

static enum rounds_end make_rounds(struct rounds *rounds, const char **reason)
{
	static const char *const reasons[] = {
		[CONVERGE_FITS] = "the pause fits",
		[CONVERGE_POINTLESS] = "further rounds would not make the pause shorter",
		[CONVERGE_ENOUGH] = "as many rounds as were wanted, and the pause does not fit",
	};
	enum converge_verdict verdict = CONVERGE_GO_ON;
	struct live_result result = { 0 };
	bool live = true;
	int err = 0;

	while (verdict == CONVERGE_GO_ON || verdict == CONVERGE_BETTER || err > 0) {
		err = make_round(rounds, &result, &live);
		*reason = timed_out ? "the time is over" : "interrupted";
		if (err == -EINTR)
			return ROUNDS_CANCELLED;
		if (err < 0 || decide(rounds, &result, live, &verdict))
			return ROUNDS_FAILED;
		if (timed_out && verdict != CONVERGE_FITS)
			return rounds->force ? ROUNDS_FORCED : ROUNDS_CANCELLED;
		if (live_stop && !timed_out)
			return ROUNDS_CANCELLED;
	}
	*reason = reasons[verdict];
	return verdict == CONVERGE_FITS ? ROUNDS_CONVERGED : ROUNDS_FORCED;
}

enum rounds_end rounds_make(struct rounds *rounds, const char **reason)
{
	char *criu = need_criu();
	enum rounds_end end;

	/* Without it nothing would come of any round. */
	if (!criu)
		return ROUNDS_FAILED;
	free(criu);
	heed_time(rounds);
	end = make_rounds(rounds, reason);
	/* Time is limited for rounds alone: what is over in time is not interrupted any more. */
	alarm(0);
	if (timed_out)
		live_stop = 0;
	return end;
}

int rounds_option(struct rounds *rounds, int option, const char *argument)
{
	unsigned long number;

	switch (option) {
	case 't':
		rounds->pid = parse_pid(argument);
		return rounds->pid > 0;
	case ROUNDS_OPTION:
		if (parse_number("downtime-limit", argument, 1, 3600000, &number))
			return 0;
		rounds->converge.limit = (double)number / 1e3;
		return 1;
	case ROUNDS_OPTION + 1:
		if (parse_number("max-rounds", argument, 1, 10000, &number))
			return 0;
		rounds->converge.max_rounds = (unsigned int)number;
		return 1;
	case ROUNDS_OPTION + 2:
		return !parse_number("timeout", argument, 1, 1000000, &rounds->timeout);
	case ROUNDS_OPTION + 3:
		rounds->force = !strcmp(argument, "force");
		if (!rounds->force && strcmp(argument, "cancel"))
			complain("--on-timeout wants cancel or force, not '%s'", argument);
		return rounds->force || !strcmp(argument, "cancel");
	case ROUNDS_OPTION + 4:
		if (parse_number("jobs", argument, 1, COPY_JOBS, &number))
			return 0;
		rounds->plan.jobs = (unsigned int)number;
		return 1;
	case ROUNDS_OPTION + 5:
		rounds->plan.rate = parse_rate(argument);
		return rounds->plan.rate > 0;
	}
	return -1;
}
