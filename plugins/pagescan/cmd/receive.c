// SPDX-License-Identifier: GPL-2.0-only
/*
 * receive.c - pagescan receive: the destination of a migration. Calls wire, receive, known, lanes, hook, verdict, restore,
 * container.
 *
 * It speaks with the source by stdin and stdout, takes rounds, tells a criu that waits warm of each, and when the last
 * images are there lets it restore. criu asks twice: before the processes may run, which the source decides, and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "live.h"
#include "move/hook.h"
#include "move/lanes.h"
#include "move/receive.h"
#include "move/verdict.h"
#include "move/wire.h"
#include "restore.h"

/* The source hears something at least that often. */
#define SIGN_OF_LIFE_MS 5000

/* How long one who asks what became of a migration waits for those who may still change it, in tenths of a second. */
#define SETTLE_PATIENCE 100

static const char usage[] =
	"Usage: pagescan receive -D DIRECTORY [--base DIR] [--no-warm] [-- CRIU'S OPTIONS]\n"
	"       pagescan receive -D DIRECTORY --container NAME --runtime COMMAND --bundle DIR [--base DIR] "
	"[--no-warm]\n"
	"                        [-- OPTIONS]\n"
	"       pagescan receive -D DIRECTORY --settle\n"
	"The destination of `pagescan migrate`, which starts it: takes images from stdin into "
	"DIRECTORY, holds the memory\n"
	"ready, and restores the processes when the source says so.\n\n"
	"  -D, --images-dir DIR  where the images go: an empty directory, made if it is not there\n"
	"      --base DIR        images of before: the source need not send pages that they hold\n"
	"      --container NAME  restored by its runtime, whose options follow then\n"
	"      --runtime COMMAND runc or crun, with options of its own\n"
	"      --bundle DIR      the container's\n"
	"      --no-warm         hold no memory ready: a plain restore from the images\n"
	"      --settle          tell what became of a migration into DIRECTORY, and let none "
	"begin to run after that:\n"
	"                        running, failed, cancelled, or unknown\n";

/* Where a migration is. */
enum state { TAKES_ROUNDS, RESTORES, ASKS, STARTS, RUNS };

struct receiver {
	const char *path;
	const char *base;
	struct known known;
	int dir;
	int lock;
	bool warm;
	bool told_cold;
	enum state state;
	struct wire wire;
	struct receive receive;
	struct lanes lanes;
	struct restore restore;
	int criu; /* a pidfd of it, -1 */
	int listener;
	int asking; /* criu's action script, which waits for an answer, -1 */
	unsigned int told;
};

static int note(const struct receiver *receiver, const char *text, struct reason *why)
{
	return wire_say(&receiver->wire, WIRE_NOTE, text, why);
}

static int start_criu(struct receiver *receiver, bool warm, struct reason *why)
{
	if (restore_start(&receiver->restore, warm))
		return reason_set(why, -EIO, "cannot start criu at the destination");
	receiver->criu = (int)syscall(SYS_pidfd_open, receiver->restore.pid, 0);
	return receiver->criu < 0 ? reason_set(why, -errno, "cannot watch criu: %s", strerror(errno)) : 0;
}

static int taken(const struct receiver *receiver, uint64_t bytes, struct reason *why)
{
	struct {
		uint32_t round;
		uint64_t bytes;
	} __attribute__((packed)) answer = { htole32(receiver->told), htole64(bytes) };

	return wire_send(&receiver->wire, WIRE_TAKEN, NULL, 0, &answer, sizeof(answer), why);
}

/* A container's restore starts when the first round has told what the runtime has to know before the last one does. */
static void start_runtime(struct receiver *receiver, struct reason *why)
{
	const int err = container_begin_last(receiver->dir);

	if (err || start_criu(receiver, true, why)) {
		restore_stop(&receiver->restore);
		receiver->told_cold = true;
		(void)note(receiver, "the restore will be a plain one: the runtime cannot be started ahead", why);
	}
}

/* Returns whether the runtime was told right what it had to know in advance, so that its restore may go on. */
static int complete_last(struct receiver *receiver, const char *name, struct reason *why)
{
	bool same;
	int err = container_complete_last(receiver->dir, name, &same);

	if (err)
		return reason_set(why, err, "cannot complete the directory %s/last: %s", receiver->path,
				  strerror(-err));
	if (same || receiver->restore.pid < 0)
		return 0;
	restore_stop(&receiver->restore);
	close(receiver->criu);
	receiver->criu = -1;
	return note(receiver, "a plain restore: the container's standard streams are not those that it began with",
		    why);
}

/* A round is complete. If a warm criu is told of it, its answer is the source's, too. */
static int round_is_there(struct receiver *receiver, struct reason *why)
{
	char name[16];

	receiver->told = receiver->receive.round;
	snprintf(name, sizeof(name), "%u", receiver->told);
	if (receiver->told == 1 && receiver->warm && receiver->restore.container.name)
		start_runtime(receiver, why);
	if (receiver->restore.sock < 0)
		return taken(receiver, 0, why);
	restore_tell(&receiver->restore, false, name);
	return 0;
}

static int last_is_there(struct receiver *receiver, struct reason *why)
{
	char name[16];
	int err = 0;

	lanes_close(&receiver->lanes);
	snprintf(name, sizeof(name), "%u", receiver->receive.round);
	if (receiver->restore.container.name)
		err = complete_last(receiver, name, why);
	else if (symlinkat(name, receiver->dir, "last") < 0)
		err = reason_set(why, -errno, "cannot make the link %s/last: %s", receiver->path, strerror(errno));
	if (err)
		return err;
	receiver->state = RESTORES;
	if (receiver->restore.sock < 0) {
		receiver->warm = false;
		return start_criu(receiver, false, why);
	}
	restore_tell(&receiver->restore, true, name);
	/* A criu that is told no more says no more. */
	close(receiver->restore.sock);
	receiver->restore.sock = -1;
	return 0;
}

/* The source lets them run. Somebody may have been told that they never will. */
static int go(struct receiver *receiver, struct reason *why)
{
	static const char answer = HOOK_GO_ON;
	int err;

	if (!restore_is_held(&receiver->restore, receiver->asking))
		return reason_set(why, -EIO, "criu has ended at the destination before the processes could run");
	err = verdict_say(receiver->dir, VERDICT_GOING);
	if (err)
		return reason_set(why, err, "%s",
				  err == -EEXIST ? "this migration has been settled already" :
						   "cannot write the verdict");
	receiver->state = STARTS;
	restore_let_go();
	(void)send(receiver->asking, &answer, 1, MSG_NOSIGNAL);
	close(receiver->asking);
	receiver->asking = -1;
	return 0;
}

static int from_source(struct receiver *receiver, struct reason *why)
{
	int type = wire_receive(&receiver->wire, why);
	int err;

	if (type < 0)
		return type;
	if (type == WIRE_GO && receiver->state == ASKS)
		return go(receiver, why);
	if (receiver->state != TAKES_ROUNDS)
		return reason_set(why, -EPROTO, "the source says what makes no sense now");
	if (type == WIRE_LISTEN && !receiver->receive.round && !receiver->lanes.v)
		return lanes_open(&receiver->lanes, &receiver->receive, &receiver->wire, why);
	err = receive_frame(&receiver->receive, &receiver->wire, (enum wire_type)type, why);
	if (!err && type == WIRE_ROUND_END)
		err = round_is_there(receiver, why);
	else if (!err && type == WIRE_LAST)
		err = last_is_there(receiver, why);
	return err;
}

/* A warm criu has taken the round that it was told of. */
static int from_warm(struct receiver *receiver, struct reason *why)
{
	char reason[256] = "it has ended; see restore.log";
	uint64_t bytes = 0;
	int warm = restore_hear(&receiver->restore, &bytes, reason);
	int err = 0;

	if (warm < 0) {
		close(receiver->restore.sock);
		receiver->restore.sock = -1;
	}
	if (warm <= 0 && !receiver->told_cold) {
		char text[320];

		receiver->told_cold = true;
		snprintf(text, sizeof(text), "the restore will be a plain one: %s", reason);
		err = note(receiver, text, why);
	}
	return err ? err : taken(receiver, bytes, why);
}

/* criu asks by its action script. */
static int from_criu(struct receiver *receiver, struct reason *why)
{
	static const char go_on = HOOK_GO_ON;
	char stage[32];
	int sock = hook_accept(receiver->listener, stage), root = 0, err = 0;

	if (sock < 0)
		return 0;
	if (sscanf(stage, "post-restore %d", &root) == 1 && receiver->state == RESTORES) {
		restore_watch(&receiver->restore, root);
		receiver->state = ASKS;
		receiver->asking = sock;
		return wire_send(&receiver->wire, WIRE_READY, NULL, 0, NULL, 0, why);
	}
	if (!strcmp(stage, "post-resume") && receiver->state == STARTS) {
		receiver->state = RUNS;
		err = wire_send(&receiver->wire, WIRE_RUNNING, NULL, 0, NULL, 0, why);
	}
	/* None but the first to ask may let them run. */
	if (strncmp(stage, "post-restore", strlen("post-restore")) != 0)
		(void)send(sock, &go_on, 1, MSG_NOSIGNAL);
	close(sock);
	return err;
}

/* criu has ended. A warm one that ends before anything was restored is no reason to give up. */
static int criu_has_ended(struct receiver *receiver, struct reason *why)
{
	const int status = restore_wait(&receiver->restore);

	close(receiver->criu);
	receiver->criu = -1;
	if (receiver->state == RUNS || (!status && receiver->state == STARTS)) {
		/* The script that tells may have come to nothing; criu's success is as good. */
		if (receiver->state == STARTS)
			(void)wire_send(&receiver->wire, WIRE_RUNNING, NULL, 0, NULL, 0, why);
		(void)verdict_change(receiver->dir, VERDICT_RUNNING);
		receiver->state = RUNS;
		if (receiver->warm)
			restore_split(&receiver->restore);
		return 0;
	}
	if (receiver->state == TAKES_ROUNDS)
		return 0; /* its socket tells, too */
	/*
	 * Killed, it may have let them run, or not, and nobody knows: the verdict stays as it is. A runtime does not tell
	 * whether its criu was.
	 */
	if (receiver->state == STARTS && (status < 0 || receiver->restore.container.name) &&
	    !restore_has_left_none(&receiver->restore))
		return reason_set(why, -EIO, "criu was killed at the destination when the processes were about to run");
	if (receiver->state == STARTS)
		(void)verdict_change(receiver->dir, VERDICT_FAILED);
	/* That of a runtime that was killed may not have ended. */
	if (receiver->state == RESTORES && receiver->warm && (status >= 0 || !receiver->restore.container.name)) {
		receiver->warm = false;
		if (note(receiver, "the warm restore has failed, see last/restore.log: a plain one follows", why))
			return -ECONNRESET;
		return start_criu(receiver, false, why);
	}
	if (receiver->restore.container.name)
		return reason_set(why, -EIO,
				  "%s restore failed at the destination, see %s/" RUNTIME_LOG " and last/restore.log",
				  receiver->restore.container.runtime, receiver->path);
	return reason_set(why, -EIO, "criu restore failed at the destination, see %s/last/restore%s.log",
			  receiver->path, receiver->warm ? "" : "-plain");
}

/* Until the processes run, or never will. Returns 0 or a negative errno with @why. */
static int serve(struct receiver *receiver, struct reason *why)
{
	int err = 0;

	while (!err && !(receiver->state == RUNS && receiver->criu < 0)) {
		struct pollfd fds[] = {
			{ receiver->state == RUNS ? -1 : receiver->wire.in, POLLIN, 0 },
			{ receiver->restore.sock, POLLIN, 0 },
			{ receiver->listener, POLLIN, 0 },
			{ receiver->criu, POLLIN, 0 },
			{ receiver->lanes.event, POLLIN, 0 },
		};
		int nr = poll(fds, 5, SIGN_OF_LIFE_MS);

		if (nr < 0 && errno != EINTR)
			return reason_set(why, -errno, "poll: %s", strerror(errno));
		if (!nr)
			err = note(receiver, "", why);
		/* What criu says comes before what its end says. */
		if (!err && nr > 0 && fds[2].revents)
			err = from_criu(receiver, why);
		else if (!err && nr > 0 && fds[1].revents)
			err = from_warm(receiver, why);
		else if (!err && nr > 0 && fds[3].revents)
			err = criu_has_ended(receiver, why);
		else if (!err && nr > 0 && fds[0].revents)
			err = from_source(receiver, why);
		else if (!err && nr > 0 && fds[4].revents)
			err = reason_set(why, receiver->receive.err, "%s", receiver->receive.why.text);
		/* What may run already is not stopped by a connection that ends. */
		if (err && (receiver->state == STARTS || receiver->state == RUNS) && receiver->criu >= 0)
			err = 0, receiver->wire.in = -1;
	}
	return err;
}

/*
 * What criu finds out about the kernel it keeps in /run, so that it takes a third of a second once only, and not while
 * nobody runs. Whatever comes of it, criu will say it itself; but without a criu no round is worth its while.
 */
static int warm_up_criu(struct reason *why)
{
	char *criu = find_criu();
	pid_t child = criu ? fork() : -1;

	if (!criu)
		return reason_set(why, -ENOENT,
				  "cannot find criu at the destination; install CRIU 4.0 or later there, or set "
				  "PAGESCAN_CRIU to its path");
	if (!child) {
		int null = open("/dev/null", O_RDWR);

		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
		execl(criu, "criu", "check", NULL);
		_exit(127);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
	free(criu);
	return 0;
}

/* Both take their time, and the source wants signs of life. */
static int prepare_runtime(const struct receiver *receiver, struct reason *why)
{
	int err = note(receiver, "", why);

	if (!err)
		err = container_prepare(receiver->dir, receiver->path, why);
	if (!err)
		err = note(receiver, "", why);
	return err ? err : container_probe(&receiver->restore.container, receiver->dir, receiver->path, true, why);
}

static int prepare(struct receiver *receiver, struct reason *why)
{
	int err;

	receiver->dir = live_images(receiver->path);
	if (receiver->dir < 0)
		return reason_set(why, -EEXIST, "the destination's directory %s cannot be used: it has to be empty",
				  receiver->path);
	receiver->lock = verdict_lock(receiver->dir);
	if (receiver->lock < 0)
		return reason_set(why, receiver->lock, "cannot lock %s: %s", receiver->path, strerror(-receiver->lock));
	receiver->listener = hook_listen(receiver->dir, why);
	if (receiver->listener < 0)
		return receiver->listener;
	err = receive_init(&receiver->receive, receiver->dir);
	if (err)
		return reason_set(why, err, "out of memory");
	err = warm_up_criu(why);
	if (!err && receiver->base) {
		err = known_offer(&receiver->known, receiver->base, &receiver->wire, why);
		receiver->receive.known = &receiver->known;
	}
	if (err)
		return err;
	return receiver->restore.container.name ? prepare_runtime(receiver, why) :
	       receiver->warm			? start_criu(receiver, true, why) :
						  0;
}

static int receive(struct receiver *receiver)
{
	struct reason why = { "" };
	int err = wire_init(&receiver->wire, STDIN_FILENO, STDOUT_FILENO, -1);

	if (!err)
		err = wire_hello(&receiver->wire, &why);
	if (err) {
		complain("%s", err == -ENOMEM ? "out of memory" : why.text);
		return EXIT_FAILED;
	}
	err = prepare(receiver, &why);
	if (!err)
		err = serve(receiver, &why);
	if (err) {
		(void)verdict_say(receiver->dir, VERDICT_FAILED);
		if (receiver->asking >= 0)
			close(receiver->asking);
		if (receiver->listener >= 0)
			close(receiver->listener);
		restore_stop(&receiver->restore);
		/* What is in doubt is no failure: the source has to ask. */
		if (wire_say(&receiver->wire, verdict_read(receiver->dir) == VERDICT_GOING ? WIRE_NOTE : WIRE_FAILED,
			     why.text, NULL))
			complain("%s", why.text);
	}
	lanes_close(&receiver->lanes);
	receive_fini(&receiver->receive);
	known_fini(&receiver->known);
	wire_fini(&receiver->wire);
	return err ? EXIT_FAILED : EXIT_SUCCESS;
}

static int settle_here(const char *path)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), lock = -EAGAIN, verdict;

	if (dir < 0 && errno == ENOENT) {
		/* Nothing ever came here. */
		puts(verdict_names[VERDICT_CANCELLED]);
		return EXIT_SUCCESS;
	}
	if (dir < 0) {
		complain("cannot open %s: %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	/* Where nothing goes yet, nothing shall. */
	verdict = verdict_say(dir, VERDICT_CANCELLED) ? verdict_read(dir) : VERDICT_CANCELLED;
	for (int i = 0; verdict == VERDICT_GOING && lock == -EAGAIN && i < SETTLE_PATIENCE; i++) {
		lock = verdict_lock(dir);
		if (lock == -EAGAIN)
			nanosleep(&pause, NULL);
		verdict = verdict_read(dir);
	}
	puts(verdict < 0 || verdict == VERDICT_GOING ? "unknown" : verdict_names[verdict]);
	return EXIT_SUCCESS;
}

int cmd_receive(int argc, char **argv)
{
	enum { BASE = 256, NO_WARM, SETTLE, CONTAINER, RUNTIME, BUNDLE };
	static const struct option known[] = {
		{ "images-dir", required_argument, NULL, 'D' },
		{ "base", required_argument, NULL, BASE },
		{ "no-warm", no_argument, NULL, NO_WARM },
		{ "settle", no_argument, NULL, SETTLE },
		{ "container", required_argument, NULL, CONTAINER },
		{ "runtime", required_argument, NULL, RUNTIME },
		{ "bundle", required_argument, NULL, BUNDLE },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct receiver receiver = { .known.dir = -1,
				     .dir = -1,
				     .lock = -1,
				     .warm = true,
				     .lanes.event = -1,
				     .criu = -1,
				     .listener = -1,
				     .asking = -1 };
	struct container container = { .name = NULL };
	char path[4096];
	bool settle = false;
	int option;

	while ((option = getopt_long(argc, argv, "D:h", known, NULL)) != -1) {
		if (option == 'D') {
			receiver.path = optarg;
		} else if (option == BASE) {
			receiver.base = optarg;
		} else if (option == NO_WARM) {
			receiver.warm = false;
		} else if (option == SETTLE) {
			settle = true;
		} else if (option == CONTAINER) {
			container.name = optarg;
		} else if (option == RUNTIME) {
			container.runtime = optarg;
		} else if (option == BUNDLE) {
			container.bundle = optarg;
		} else if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		} else {
			return EXIT_USAGE;
		}
	}
	if (!receiver.path || (optind < argc && strcmp(argv[optind - 1], "--")) ||
	    (container.name && (!container.runtime || !container.bundle))) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (settle)
		return settle_here(receiver.path);
	/* criu changes to its image directory before it runs scripts. */
	if (*receiver.path != '/' && getcwd(path, sizeof(path) / 2)) {
		strncat(path, "/", 2);
		strncat(path, receiver.path, sizeof(path) - strlen(path) - 1);
		receiver.path = path;
	}
	signal(SIGPIPE, SIG_IGN);
	receiver.restore = (struct restore){ .path = receiver.path,
					     .options = argv + optind,
					     .nr_options = argc - optind,
					     .container = container,
					     .pid = -1,
					     .sock = -1,
					     .far = -1,
					     .root = -1 };
	return receive(&receiver);
}
