// SPDX-License-Identifier: GPL-2.0-only
/*
 * handover.c - the last dump of a migration, until the processes run at the destination. Calls rounds, peer, send, wire,
 * hook, hold, clock.
 *
 * criu dumps what is left, and asks, by its action script, whether the processes shall end; that is answered when they run
 * at the destination, and until then they stand still here. Who is asked what at which point is in docs/migration.md.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "handover.h"
#include "live.h"
#include "move/hook.h"
#include "peer.h"
#include "track/clock.h"

/* criu's script learns how to find out, should this process not be there to tell. Returns whether it does. */
static bool tell_doubt(const struct handover *handover, int script)
{
	char packet[HOOK_MAX];
	size_t len = 0;

	packet[len++] = HOOK_DOUBT;
	for (char **word = handover->settle; *word; word++) {
		const size_t size = strlen(*word) + 1;

		/* A part of a command is none. */
		if (len + size > sizeof(packet))
			return false;
		memcpy(packet + len, *word, size);
		len += size;
	}
	return send(script, packet, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/*
 * Neither criu nor its script has ended, so the processes have stood still until now. A runtime and its criu may outlive each
 * other; whose criu it is, it traces them.
 */
static bool is_frozen(const struct handover *handover, int criu, int script)
{
	const bool is_child = !handover->rounds->container.name;
	struct pollfd fds[] = { { script, POLLIN, 0 }, { is_child ? criu : -1, POLLIN, 0 } };

	return !poll(fds, 2, 0) && hold_is_traced(handover->rounds->pid);
}

/* From here on they run nowhere, whatever happens, until the destination lets them or says that it never will. */
static int let_go(struct handover *handover, int criu, int script, struct reason *why)
{
	int err = hold_take(&handover->hold, handover->rounds->pid);

	if (err)
		return reason_set(why, err, "cannot hold the processes: %s", strerror(-err));
	if (!is_frozen(handover, criu, script))
		return reason_set(why, -EIO, "criu has ended before its time");
	if (!tell_doubt(handover, script))
		return reason_set(why, -E2BIG, "criu's script cannot be told how to ask the destination");
	return 0;
}

/*
 * The images are complete and the processes stand still. Returns 0 if they run at the destination, a negative errno with
 * @why if they never will.
 */
static int hand_over(struct handover *handover, int dir, int criu, int script, struct reason *why)
{
	int err = send_directory(handover->send, dir, false, WIRE_LAST, why);

	handover->dumped = clock_seconds();
	if (!err)
		err = peer_hear(handover->wire, WIRE_READY, why);
	if (err)
		return err;
	if (live_stop)
		return reason_set(why, -EINTR, "interrupted");
	handover->restored = clock_seconds();
	err = let_go(handover, criu, script, why);
	if (err)
		return err;
	err = wire_send(handover->wire, WIRE_GO, NULL, 0, NULL, 0, why);
	if (!err)
		err = peer_hear(handover->wire, WIRE_RUNNING, why);
	handover->running = clock_seconds();
	/* The destination says so itself: they do not run there. */
	if (!err || err == -EREMOTEIO)
		return err;
	complain("%s: asking the destination anew what became of it", why->text);
	return settle(handover->settle) ? 0 : err;
}

static void answer(int script, char letter)
{
	(void)send(script, &letter, 1, MSG_NOSIGNAL);
	close(script);
}

/* criu and its scripts, until criu ends. Returns 0 if the processes have moved, or a negative errno with @why. */
static int attend(struct handover *handover, int dir, int listener, int criu, struct reason *why)
{
	int err = reason_set(why, -EIO, "criu dump failed, see %s/%u/%s", handover->rounds->images,
			     handover->rounds->round, rounds_log(handover->rounds));

	for (;;) {
		struct pollfd fds[] = { { listener, POLLIN, 0 }, { criu, POLLIN, 0 } };
		char stage[32];
		int script;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return reason_set(why, -errno, "poll: %s", strerror(errno));
		if (!fds[0].revents && fds[1].revents)
			return err;
		script = fds[0].revents ? hook_accept(listener, stage) : -1;
		if (script < 0)
			continue;
		if (!strcmp(stage, "pre-dump")) {
			(void)hold_note(&handover->hold, handover->rounds->pid);
			handover->frozen_since = clock_seconds();
		}
		if (!strcmp(stage, "post-dump")) {
			err = hand_over(handover, dir, criu, script, why);
			if (err)
				hold_release(&handover->hold);
		}
		answer(script, strcmp(stage, "post-dump") || !err ? HOOK_GO_ON : HOOK_GIVE_UP);
	}
}

int handover(struct handover *handover, struct rounds *rounds, struct reason *why)
{
	char script[4096 + 32];
	char *const options[] = { (char *)"--action-script", script, NULL };
	int dir = rounds_next_directory(rounds), listener, err, status;
	pid_t child;

	handover->rounds = rounds;
	listener = dir < 0 ? -EIO : hook_listen(rounds->dir, why);
	if (dir < 0)
		reason_set(why, -EIO, "cannot make a directory for the dump");
	snprintf(script, sizeof(script), "%s/" HOOK_PROGRAM, rounds->images);
	err = listener < 0 ? listener : 0;
	if (!err)
		err = send_round(handover->send, &rounds->files, rounds->round, why);
	if (!err) {
		handover->frozen_since = clock_seconds();
		child = rounds_start_criu(rounds, "dump", options);
		err = child < 0 ? reason_set(why, -EIO, "cannot start criu") : 0;
	}
	if (!err) {
		int criu = (int)syscall(SYS_pidfd_open, child, 0);

		err = attend(handover, dir, listener, criu, why);
		close(criu);
		waitpid(child, &status, 0);
	}
	/* criu has done so, unless it was killed or somebody's script made it let them go on. */
	if (!err)
		hold_end(&handover->hold);
	hold_fini(&handover->hold);
	if (listener >= 0)
		close(listener);
	if (dir >= 0)
		close(dir);
	return err;
}
