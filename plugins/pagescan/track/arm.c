// SPDX-License-Identifier: GPL-2.0-only
/*
 * arm.c - a helper process that stops a thread, makes the userfaultfd there and gives it to the keeper. Calls thread, clock,
 * uffd, keeper, identity.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arm.h"
#include "clock.h"
#include "identity.h"
#include "keeper.h"
#include "thread.h"

/* A thread that nothing wakes for so long is left alone. */
#define PATIENCE_US 100000

/* What the helper tells the caller. */
struct verdict {
	int err;
	uint64_t stopped;
	struct reason why;
};

static void wake(int signal)
{
	(void)signal;
}

/* No signal shall end the helper while a thread is stopped; one of a timer's ends a wait. */
static int stop_patiently(struct thread *thread, int pid, sigset_t *signals, struct reason *why)
{
	const struct sigaction action = { .sa_handler = wake };
	const struct itimerval timer = { { 0, PATIENCE_US }, { 0, PATIENCE_US } }, off = { 0 };
	sigset_t blocked;
	int err;

	sigaction(SIGALRM, &action, NULL);
	sigfillset(&blocked);
	sigdelset(&blocked, SIGALRM);
	sigprocmask(SIG_SETMASK, &blocked, signals);
	setitimer(ITIMER_REAL, &timer, NULL);
	err = thread_stop(thread, pid, why);
	setitimer(ITIMER_REAL, &off, NULL);
	return err;
}

/* Is the pid still the one that was meant? The thread is stopped, so it does not execute another program now. */
static int check_identity(const struct identity *id, struct reason *why)
{
	struct identity current;
	int dir = identity_open(id->pid), err = dir < 0 ? dir : identity_read(dir, &current);

	if (dir >= 0)
		close(dir);
	if (err || !identity_equal(&current, id))
		return reason_set(why, -ESRCH, "it ended or executed another program meanwhile");
	return 0;
}

static void help(const struct identity *id, struct verdict *verdict)
{
	struct epoch epoch = { 0 };
	struct thread thread;
	sigset_t signals;
	int uffd = -1;

	if (getrandom(epoch.tracker, TRACKER_ID_SIZE, 0) != TRACKER_ID_SIZE) {
		verdict->err = reason_set(&verdict->why, -EIO, "no random bytes for the tracker's name");
		return;
	}
	verdict->err = stop_patiently(&thread, id->pid, &signals, &verdict->why);
	if (verdict->err)
		return;
	verdict->err = check_identity(id, &verdict->why);
	if (!verdict->err) {
		uffd = uffd_create(id, &thread.remote, &verdict->why);
		verdict->err = uffd < 0 ? uffd : 0;
	}
	if (thread_go(&thread) && !verdict->err)
		verdict->err = reason_set(&verdict->why, -ESRCH, "it ended meanwhile");
	verdict->stopped = clock_ns() - thread.since;
	sigprocmask(SIG_SETMASK, &signals, NULL); /* a keeper that is started now has the caller's */
	if (!verdict->err)
		verdict->err = keeper_put(id, &epoch, uffd, &verdict->why);
}

int arm(const struct identity *id, uint64_t *stopped, struct reason *why)
{
	struct verdict verdict = { .err = -EIO };
	int ends[2], status;
	ssize_t got;
	pid_t helper;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return reason_set(why, -errno, "pipe: %s", strerror(errno));
	helper = fork();
	if (helper < 0) {
		int err = -errno;

		close(ends[0]);
		close(ends[1]);
		return reason_set(why, err, "fork: %s", strerror(-err));
	}
	if (!helper) {
		close(ends[0]);
		setsid();
		help(id, &verdict);
		_exit(write(ends[1], &verdict, sizeof(verdict)) != sizeof(verdict));
	}
	close(ends[1]);
	do
		got = read(ends[0], &verdict, sizeof(verdict));
	while (got < 0 && errno == EINTR);
	close(ends[0]);
	while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
		;
	if (got != sizeof(verdict))
		return reason_set(why, -EIO, "the helper that was to make its userfaultfd ended without a word");
	*stopped = verdict.stopped;
	if (verdict.err && why)
		*why = verdict.why;
	return verdict.err;
}
