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
#include <sys/socket.h>
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
	if (uffd >= 0)
		close(uffd);
}

/*
 * One request after the other, until the caller is done or gone. A thread that it could not let go again it leaves by its own
 * end, as the kernel lets go of what a process traces then.
 */
static void __attribute__((noreturn)) serve(int socket)
{
	struct verdict verdict = { 0 };

	while (!verdict.err) {
		struct identity id;
		ssize_t got = recv(socket, &id, sizeof(id), 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got != sizeof(id))
			break;
		verdict = (struct verdict){ 0 };
		help(&id, &verdict);
		if (send(socket, &verdict, sizeof(verdict), MSG_NOSIGNAL) != sizeof(verdict))
			break;
	}
	_exit(0);
}

static int helper_start(struct helper *helper, struct reason *why)
{
	int ends[2], err = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return reason_set(why, -errno, "socketpair: %s", strerror(errno));
	helper->pid = fork();
	if (helper->pid < 0)
		err = reason_set(why, -errno, "fork: %s", strerror(errno));
	if (!helper->pid) {
		close(ends[0]);
		setsid();
		serve(ends[1]);
	}
	close(ends[1]);
	helper->socket = ends[0];
	if (err) {
		close(ends[0]);
		*helper = (struct helper){ 0 };
	}
	return err;
}

void helper_end(struct helper *helper)
{
	int status;

	if (!helper->pid)
		return;
	close(helper->socket);
	while (waitpid(helper->pid, &status, 0) < 0 && errno == EINTR)
		;
	*helper = (struct helper){ 0 };
}

int arm(struct helper *helper, const struct identity *id, uint64_t *stopped, struct reason *why)
{
	struct verdict verdict = { 0 };
	ssize_t got = -1;
	int err = helper->pid ? 0 : helper_start(helper, why);

	if (err)
		return err;
	if (send(helper->socket, id, sizeof(*id), MSG_NOSIGNAL) == sizeof(*id)) {
		do
			got = recv(helper->socket, &verdict, sizeof(verdict), 0);
		while (got < 0 && errno == EINTR);
	}
	if (got != sizeof(verdict) || verdict.err)
		helper_end(helper);
	if (got != sizeof(verdict))
		return reason_set(why, -EIO, "the helper that was to make its userfaultfd ended without a word");
	*stopped = verdict.stopped;
	if (verdict.err && why)
		*why = verdict.why;
	return verdict.err;
}
