// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore.c - start `criu restore` and talk to it while it waits. Calls container, hook, identity, tree, huge,
 * image, exec_criu, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind/landing.h"
#include "cmd.h"
#include "copy/tree.h"
#include "image/read.h"
#include "land/huge.h"
#include "move/hook.h"
#include "restore.h"
#include "track/identity.h"

/* What criu has killed is gone in a moment. */
#define ROOT_PATIENCE_MS 1000

static int exec_criu_restore(const struct restore *restore, bool warm)
{
	char path[4096], script[4096];
	char *fixed[] = { (char *)"criu",
			  (char *)"restore",
			  (char *)"-d",
			  (char *)"-D",
			  path,
			  (char *)"-o",
			  (char *)(warm ? "restore.log" : "restore-plain.log"),
			  (char *)"--action-script",
			  script };
	const size_t nr = sizeof(fixed) / sizeof(*fixed);
	char **argv = calloc(nr + (size_t)restore->nr_options + 1, sizeof(*argv));

	if (!argv) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	snprintf(path, sizeof(path), "%s/last", restore->path);
	snprintf(script, sizeof(script), "%s/" HOOK_PROGRAM, restore->path);
	memcpy(argv, fixed, sizeof(fixed));
	memcpy(argv + nr, restore->options, (size_t)restore->nr_options * sizeof(*argv));
	return exec_criu(argv);
}

/*
 * A container may get our standard streams, which so must not be anybody's; the runtime tells its errors in a file. The
 * names of criu's logs are the runtime's choice: that of a warm restore that has failed shall not be lost.
 */
static int exec_runtime_restore(const struct restore *restore, bool warm)
{
	char path[4096], log[4096], warm_log[4096];
	char *const fixed[] = { (char *)"--log",
				log,
				(char *)"restore",
				(char *)"--detach",
				(char *)"--bundle",
				(char *)restore->container.bundle,
				(char *)"--image-path",
				path,
				NULL };

	snprintf(log, sizeof(log), "%s/last/restore.log", restore->path);
	snprintf(warm_log, sizeof(warm_log), "%s/last/restore-warm.log", restore->path);
	if (!warm)
		(void)rename(log, warm_log);
	snprintf(path, sizeof(path), "%s/last", restore->path);
	snprintf(log, sizeof(log), "%s/" RUNTIME_LOG, restore->path);
	dup2(STDIN_FILENO, STDOUT_FILENO);
	dup2(STDIN_FILENO, STDERR_FILENO);
	return container_exec(&restore->container, restore->path, true, fixed, restore->options, restore->nr_options);
}

/* In the child: nothing of ours but stderr is criu's, and what it restores stays when we are gone. */
static void become_criu(const struct restore *restore, bool warm, int sock)
{
	int null = open("/dev/null", O_RDWR);
	char where[32] = "";

	dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	setsid();
	signal(SIGPIPE, SIG_DFL);
	if (sock >= 0 && restore->container.name)
		snprintf(where, sizeof(where), "%d:%d", getppid(), sock);
	else if (sock >= 0)
		snprintf(where, sizeof(where), "%d", sock);
	setenv(LAND_VARIABLE, where, 1);
	_exit(restore->container.name ? exec_runtime_restore(restore, warm) : exec_criu_restore(restore, warm));
}

static void close_far(struct restore *restore)
{
	if (restore->far >= 0)
		close(restore->far);
	restore->far = -1;
}

int restore_start(struct restore *restore, bool warm)
{
	int socks[2] = { -1, -1 };

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (!warm || !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks))
		restore->pid = fork();
	if (!restore->pid) {
		if (socks[0] >= 0)
			close(socks[0]);
		become_criu(restore, warm, socks[1]);
	}
	restore->sock = socks[0];
	restore->far = socks[1];
	if (restore->sock >= 0)
		fcntl(restore->sock, F_SETFD, FD_CLOEXEC);
	if (!restore->container.name)
		close_far(restore);
	if (restore->pid > 0)
		return 0;
	complain("cannot start criu: %s", strerror(errno));
	return -EIO;
}

void restore_tell(const struct restore *restore, bool last, const char *name)
{
	char packet[4096];
	const int len = snprintf(packet, sizeof(packet), "%c%s/%s", last ? LAND_LAST : LAND_ROUND, restore->path, name);

	if (restore->sock >= 0)
		(void)send(restore->sock, packet, (size_t)len, MSG_NOSIGNAL);
}

bool restore_ask(const struct restore *restore)
{
	const char packet = LAND_ASK;

	return send(restore->sock, &packet, 1, MSG_NOSIGNAL) == 1;
}

int restore_hear(const struct restore *restore, uint64_t *bytes, char reason[256])
{
	char packet[512];
	ssize_t len = recv(restore->sock, packet, sizeof(packet) - 1, 0);

	if (len <= 0)
		return -1;
	packet[len] = '\0';
	*bytes = 0;
	*reason = '\0';
	if (*packet == LAND_LOADED)
		return sscanf(packet + 1, "%" SCNu64, bytes);
	snprintf(reason, 256, "%.255s", packet + 1);
	return 0;
}

void restore_let_go(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* All that is below us now was criu's. Those whose parents end here become children of ours. */
static void end_orphans(void)
{
	do {
		struct tree tree = { 0 };

		(void)tree_read(&tree, getpid());
		for (size_t i = 1; i < tree.nr; i++)
			(void)kill(tree.v[i].pid, SIGKILL);
		tree_fini(&tree);
	} while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

int restore_wait(struct restore *restore)
{
	int status = -1;

	while (restore->pid > 0 && waitpid(restore->pid, &status, 0) < 0 && errno == EINTR)
		;
	restore->pid = -1;
	close_far(restore);
	end_orphans();
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* As identity_status(); -1 where there is no such process. */
static int status_of(int pid, const char *name)
{
	int proc = identity_open(pid), number = -1;

	if (proc >= 0) {
		number = identity_status(proc, name);
		close(proc);
	}
	return number;
}

bool restore_is_held(const struct restore *restore, int script)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);
	int pid, distance = 0;

	if (!restore->container.name)
		return true;
	if (getsockopt(script, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	for (pid = peer.pid; pid > 1 && pid != restore->pid; distance++)
		pid = status_of(pid, "PPid");
	return pid == restore->pid && distance > 1;
}

void restore_watch(struct restore *restore, int root)
{
	restore->first = root;
	if (status_of(root, "NSpid") == 1) /* pid_namespaces(7) */
		restore->root = (int)syscall(SYS_pidfd_open, root, 0);
}

void restore_split(const struct restore *restore)
{
	struct tree tree = { 0 };
	char path[4096];
	int dir;

	snprintf(path, sizeof(path), "%s/last", restore->path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && restore->first)
		(void)tree_read(&tree, restore->first);
	for (size_t i = 0; i < tree.nr; i++) {
		struct image_areas areas = { 0 };

		/* One that is new since then has no image, or that of another; its memory is its parent's. */
		if (!image_read_areas(dir, status_of(tree.v[i].pid, "NSpid"), &areas))
			huge_split(tree.v[i].pid, &areas);
		image_areas_fini(&areas);
	}
	tree_fini(&tree);
	if (dir >= 0)
		close(dir);
}

bool restore_has_left_none(const struct restore *restore)
{
	struct pollfd root = { restore->root, POLLIN, 0 };

	return restore->root >= 0 && poll(&root, 1, ROOT_PATIENCE_MS) == 1;
}

void restore_stop(struct restore *restore)
{
	/* One that waits ends by this; one that restores is told by its action script. */
	if (restore->sock >= 0)
		close(restore->sock);
	restore->sock = -1;
	if (restore->pid > 0)
		(void)restore_wait(restore);
}
