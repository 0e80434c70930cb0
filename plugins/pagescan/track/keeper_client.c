// SPDX-License-Identifier: GPL-2.0-only
/*
 * keeper_client.c - ask the keeper, and start it where there is none. Calls keeper_wire, the kernel.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper.h"

/* Tasks are frozen meanwhile: a keeper that does not answer in this time has had its chance. */
#define ANSWER_S 1
/* Starting one takes some milliseconds on an idle machine. */
#define START_MS 5000
/* The kernel's own (include/linux/err.h). */
#define MAX_ERRNO 4095

/* -ENOENT where no keeper listens. */
static int keeper_connect(struct reason *why)
{
	const struct timeval timeout = { .tv_sec = ANSWER_S };
	struct sockaddr_un addr;
	int dir = keeper_dir_open(why);
	int sock, err = 0;

	if (dir < 0)
		return dir;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0) {
		err = reason_set(why, -errno, "socket: %s", strerror(errno));
	} else {
		keeper_address(dir, &addr);
		setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
		if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
			err = errno == ECONNREFUSED ? -ENOENT : -errno;
			reason_set(why, err, err == -ENOENT ? "no keeper runs" : "cannot connect to the keeper: %s",
				   strerror(-err));
			close(sock);
		}
	}
	close(dir);
	return err ? err : sock;
}

/* See struct keeper_message; what is no errno must not become one here. */
static bool is_status(int32_t status, uint32_t op)
{
	return status >= -MAX_ERRNO && (status <= 0 || op == KEEPER_DROP);
}

/* One request and its reply on a fresh connection. */
static int exchange(struct keeper_message *message, const int *fds, size_t nr_fds, int got[2], size_t *nr_got,
		    struct reason *why)
{
	int sock = keeper_connect(why);
	int err;

	*nr_got = 0;
	if (sock < 0)
		return sock;
	err = keeper_send(sock, message, fds, nr_fds);
	if (!err)
		err = keeper_receive(sock, message, got, nr_got);
	close(sock);
	if (err == -EPIPE)
		err = -ECONNRESET;
	return err ? reason_set(why, err, "the keeper does not answer: %s", strerror(-err)) : 0;
}

/*
 * A request and its reply; *uffd, where wanted, is the descriptor that came with it. A keeper that hangs up is asked
 * again: one that ended at that very moment is none by then (-ENOENT), one that lacked something may have it.
 */
static int ask(struct keeper_message *message, const int *fds, size_t nr_fds, int *uffd, struct reason *why)
{
	const struct keeper_message request = *message;
	int got[2];
	size_t nr_got;
	int err = exchange(message, fds, nr_fds, got, &nr_got, why);

	if (err == -ECONNRESET) {
		*message = request;
		err = exchange(message, fds, nr_fds, got, &nr_got, why);
	}
	if (err)
		return err;

	if (uffd && nr_got && !message->status)
		*uffd = got[--nr_got];
	while (nr_got)
		close(got[--nr_got]);
	if (!is_status(message->status, request.op))
		return reason_set(why, -EPROTO, "the keeper's answer makes no sense");
	return 0;
}

int keeper_get(const struct identity *id, struct epoch *epoch, int *uffd, struct reason *why)
{
	struct keeper_message message = { .op = KEEPER_GET, .entry.id = *id };
	int err;

	*uffd = -1;
	err = ask(&message, NULL, 0, uffd, why);
	if (err)
		return err;
	if (message.status)
		return reason_set(why, message.status, "the keeper does not know the task");
	if (*uffd < 0)
		return reason_set(why, -EPROTO, "the keeper sent no descriptor");
	*epoch = message.entry.epoch;
	return 0;
}

int keeper_put(const struct identity *id, const struct epoch *epoch, int uffd, struct reason *why)
{
	const struct keeper_message request = { .op = KEEPER_PUT, .entry = { .id = *id, .epoch = *epoch } };
	struct keeper_message message = request;
	int fds[2] = { uffd, (int)syscall(SYS_pidfd_open, id->pid, 0) };
	int err;

	if (fds[1] < 0)
		return reason_set(why, -errno, "pidfd_open: %s", strerror(errno));
	err = ask(&message, fds, 2, NULL, why);
	if (err == -ENOENT) {
		err = keeper_spawn(why);
		message = request;
		if (!err)
			err = ask(&message, fds, 2, NULL, why);
	}
	close(fds[1]);
	if (!err && message.status == -EMFILE)
		err = reason_set(
			why, -EMFILE,
			"the keeper has as many tasks as its limit of open files allows; raise that limit (prlimit "
			"--nofile) and end tracking (pagescan untrack --all)");
	else if (!err && message.status)
		err = reason_set(why, message.status, "the keeper refuses the task: %s", strerror(-message.status));
	return err;
}

int keeper_drop(int32_t pid, int *dropped, struct reason *why)
{
	struct keeper_message message = { .op = KEEPER_DROP, .entry.id.pid = pid };
	int err = ask(&message, NULL, 0, NULL, why);

	*dropped = 0;
	if (err)
		return err;
	if (message.status < 0)
		return reason_set(why, message.status, "the keeper does not let go: %s", strerror(-message.status));
	*dropped = message.status;
	return 0;
}

int keeper_list(int (*visit)(void *ctx, const struct keeper_entry *entry), void *ctx, struct reason *why)
{
	struct keeper_message message = { 0 };

	for (;;) {
		const int32_t last = message.entry.id.pid;
		int err;

		message.op = KEEPER_NEXT;
		message.status = 0;
		err = ask(&message, NULL, 0, NULL, why);
		if (err)
			return err;
		if (message.status == -ENOENT)
			return 0;
		if (message.status)
			return reason_set(why, message.status, "the keeper refuses to list: %s",
					  strerror(-message.status));
		if (message.entry.id.pid <= last) /* it would never end */
			return reason_set(why, -EPROTO, "the keeper's answer makes no sense");
		err = visit(ctx, &message.entry);
		if (err)
			return err;
	}
}

/*
 * The command lies beside the plugin in a build tree, and where `make install` puts it otherwise. The loader knows either by
 * the name that it was called by, which may be none for the keeper, whose directory is the root.
 */
static void program_path(char path[PATH_MAX])
{
	char self[PATH_MAX] = "", here[PATH_MAX] = "";
	const char *slash = NULL;
	Dl_info info;

	if (dladdr((void *)program_path, &info) && info.dli_fname) {
		slash = strrchr(info.dli_fname, '/');
		/* The command itself, found in PATH by a shell, has a bare name. */
		if (!slash && readlink("/proc/self/exe", self, sizeof(self) - 1) > 0) {
			info.dli_fname = self;
			slash = strrchr(self, '/');
		}
	}
	if (slash && (*info.dli_fname == '/' || getcwd(here, sizeof(here)))) {
		snprintf(path, PATH_MAX, "%s%s%.*s/pagescan", here, *here ? "/" : "", (int)(slash - info.dli_fname),
			 info.dli_fname);
		if (!access(path, X_OK))
			return;
	}
	snprintf(path, PATH_MAX, "%s/pagescan", PAGESCAN_SBINDIR);
}

/* In the child: only what is safe between fork and exec. */
static void __attribute__((noreturn)) become_keeper(const char *path, char *runtime_dir, int ready)
{
	char *const argv[] = { (char *)"pagescan", (char *)"keeper", NULL };
	char *const envp[] = { runtime_dir, NULL };
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	setsid();
	/* Whoever reaps the caller's children must not meet this one: CRIU calls it an unexpected child. */
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
		_exit(0);

	/* Descriptor 3 is the ready pipe; nothing else of the caller's is inherited. */
	if (null < 0 || dup2(ready, 3) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(1);
	fcntl(3, F_SETFD, 0);
	syscall(SYS_close_range, 4, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!chdir("/"))
		execve(path, argv, envp);
	_exit(127);
}

int keeper_find_program(struct reason *why)
{
	char path[PATH_MAX];

	program_path(path);
	/* Whatever the error, not one by which callers know that a task is gone. */
	return access(path, X_OK) ?
		       reason_set(why, -ENOEXEC, "cannot start the keeper: %s: %s", path, strerror(errno)) :
		       0;
}

int keeper_spawn(struct reason *why)
{
	struct pollfd poll_fd = { .events = POLLIN };
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	char path[PATH_MAX], environment[PATH_MAX + 32] = "";
	int pipe_fds[2], err = 0;
	char byte;
	long pid;

	/* All that the keeper takes from the caller's environment: where its directory is. */
	if (runtime_dir)
		snprintf(environment, sizeof(environment), "XDG_RUNTIME_DIR=%s", runtime_dir);
	err = keeper_find_program(why);
	if (err)
		return err;
	program_path(path);
	if (pipe2(pipe_fds, O_CLOEXEC))
		return reason_set(why, -errno, "pipe: %s", strerror(errno));

	/* A clone without an exit signal: CRIU's SIGCHLD handler never hears of it. */
	pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (!pid)
		become_keeper(path, *environment ? environment : NULL, pipe_fds[1]);
	close(pipe_fds[1]);
	if (pid < 0) {
		err = reason_set(why, -errno, "fork: %s", strerror(errno));
	} else {
		/* Left unreaped, CRIU's own wait would take it for a task that it is about to cure. */
		while (waitpid((pid_t)pid, NULL, __WALL) < 0 && errno == EINTR)
			;
		poll_fd.fd = pipe_fds[0];
		if (poll(&poll_fd, 1, START_MS) != 1 || read(pipe_fds[0], &byte, 1) != 1)
			err = reason_set(why, -ECHILD, "the keeper does not start (%s keeper says why)", path);
	}
	close(pipe_fds[0]);
	return err;
}
