// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore.c - start `criu restore` and talk to it while it waits. Calls hook, tree, exec_criu, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind/landing.h"
#include "cmd.h"
#include "copy/tree.h"
#include "move/hook.h"
#include "restore.h"

/* In the child: nothing of ours but stderr is criu's, and what it restores stays when we are gone. */
static void become_criu(char **argv, int sock)
{
	int null = open("/dev/null", O_RDWR);
	char number[16];

	dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	setsid();
	signal(SIGPIPE, SIG_DFL);
	if (sock >= 0) {
		snprintf(number, sizeof(number), "%d", sock);
		setenv(LAND_VARIABLE, number, 1);
	}
	_exit(exec_criu(argv));
}

int restore_start(struct restore *restore, bool warm)
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
	int socks[2] = { -1, -1 };
	bool ready = argv && (!warm || !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));

	snprintf(path, sizeof(path), "%s/last", restore->path);
	snprintf(script, sizeof(script), "%s/" HOOK_PROGRAM, restore->path);
	if (ready) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		memcpy(argv, fixed, sizeof(fixed));
		memcpy(argv + nr, restore->options, (size_t)restore->nr_options * sizeof(*argv));
		restore->pid = fork();
		if (!restore->pid) {
			if (socks[0] >= 0)
				close(socks[0]);
			become_criu(argv, socks[1]);
		}
	}
	if (socks[1] >= 0)
		close(socks[1]);
	restore->sock = socks[0];
	if (restore->sock >= 0)
		fcntl(restore->sock, F_SETFD, FD_CLOEXEC);
	free(argv);
	if (ready && restore->pid > 0)
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
	end_orphans();
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
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
