// SPDX-License-Identifier: GPL-2.0-only
/*
 * hook.c - pagescan under the name pagescan-hook: criu's action script of a migration. Calls hook, hold, verdict.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "move/hold.h"
#include "move/hook.h"
#include "move/verdict.h"

#define ASK_AGAIN_S 2

/* The first word that a command prints. Returns whether there is one. */
static bool ask(char **argv, char answer[16])
{
	int pipe_fd[2], status;
	ssize_t len = 0;
	pid_t child;

	if (pipe(pipe_fd) < 0)
		return false;
	child = fork();
	if (!child) {
		dup2(pipe_fd[1], STDOUT_FILENO);
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		execvp(*argv, argv);
		_exit(127);
	}
	close(pipe_fd[1]);
	if (child > 0) {
		len = read(pipe_fd[0], answer, 15);
		waitpid(child, &status, 0);
	}
	close(pipe_fd[0]);
	answer[len > 0 ? len : 0] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	return len > 0;
}

bool settle(char **argv)
{
	char answer[16] = "", last[16] = "";
	bool told = false;

	for (;; sleep(ASK_AGAIN_S)) {
		const bool heard = ask(argv, answer);

		if (told && !strcmp(answer, last))
			continue;
		told = true;
		memcpy(last, answer, sizeof(last));
		if (!heard)
			complain("cannot ask the destination whether the processes run there; they stay frozen here "
				 "until that is known: asking again");
		else if (!strcmp(answer, "unknown"))
			complain("the destination does not know whether the processes run there, as who let them is "
				 "gone; they stay frozen here until its link `verdict` says running or failed: asking "
				 "again");
		else if (!strcmp(answer, verdict_names[VERDICT_RUNNING]))
			return true;
		else if (!strcmp(answer, verdict_names[VERDICT_FAILED]) ||
			 !strcmp(answer, verdict_names[VERDICT_CANCELLED]))
			return false;
	}
}

/* Arguments that each end with a zero. */
static bool settle_packed(char *packed, size_t len)
{
	char *argv[HOOK_MAX / 2 + 1];
	size_t nr = 0;

	for (size_t at = 0; at < len; at += strlen(packed + at) + 1)
		argv[nr++] = packed + at;
	argv[nr] = NULL;
	return nr && settle(argv);
}

/* Returns whether criu may go on. */
static bool converse(int sock)
{
	char answer[HOOK_MAX + 1], doubt[HOOK_MAX + 1];
	ssize_t len, doubt_len = 0;

	while ((len = recv(sock, answer, HOOK_MAX, 0)) > 0 || (len < 0 && errno == EINTR)) {
		if (len > 0 && *answer == HOOK_GO_ON)
			return true;
		if (len > 0 && *answer == HOOK_GIVE_UP)
			return false;
		if (len > 1 && *answer == HOOK_DOUBT) {
			doubt_len = len - 1;
			memcpy(doubt, answer + 1, (size_t)doubt_len);
			doubt[doubt_len] = '\0';
		}
	}
	return doubt_len && settle_packed(doubt, (size_t)doubt_len);
}

/* What became of those that were about to run, whoever may still be there to hear it. */
static void note(const char *path, enum verdict verdict)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0) {
		if (verdict_read(dir) == VERDICT_GOING)
			(void)verdict_change(dir, verdict);
		close(dir);
	}
}

/* Returns whether criu may go on. */
static bool at_stage(const char *dir, const char *stage)
{
	int sock = hook_connect(dir, stage);
	bool go_on;

	if (sock < 0) {
		complain("%s: whoever started criu is not there any more", stage);
		return false;
	}
	go_on = converse(sock);
	close(sock);
	return go_on;
}

/* The processes end if this returns true; otherwise they go on, even if somebody had got ready for their end. */
static bool after_dump(const char *dir, const char *root)
{
	if (at_stage(dir, "post-dump"))
		return true;
	if (root)
		hold_release_frozen(atoi(root));
	return false;
}

int hook_main(const char *program)
{
	const char *stage = getenv("CRTOOLS_SCRIPT_ACTION");
	const char *root = getenv("CRTOOLS_INIT_PID");
	bool done = true;
	char dir[4096];

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(program, '/') - program), program);
	if (!stage)
		return EXIT_SUCCESS;
	if (!strcmp(stage, "post-dump")) {
		done = after_dump(dir, root);
	} else if (!strcmp(stage, "pre-dump")) {
		done = at_stage(dir, stage);
	} else if (!strcmp(stage, "post-restore")) {
		char text[32];

		snprintf(text, sizeof(text), "%s %d", stage, root ? atoi(root) : 0);
		done = at_stage(dir, text);
		/* criu ends them now, none of which has ever run; it may have been killed, and they would stay. */
		if (!done)
			note(dir, VERDICT_FAILED);
		if (!done && root)
			hold_kill(atoi(root));
	} else if (!strcmp(stage, "post-resume")) {
		note(dir, VERDICT_RUNNING);
		done = at_stage(dir, stage);
	}
	return done ? EXIT_SUCCESS : EXIT_FAILED;
}
