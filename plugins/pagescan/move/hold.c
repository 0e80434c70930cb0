// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold.c - signals that wait for frozen tasks. Calls tree, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "copy/tree.h"
#include "hold.h"

/* What follows @name in the status of a task, proc_pid_status(5). Returns false if there is no such task. */
static bool status_of(int pid, const char *name, char value[32])
{
	char path[32], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		found = !strncmp(line, name, strlen(name));
		if (found)
			snprintf(value, 32, "%.31s", line + strlen(name));
	}
	if (file)
		fclose(file);
	return found;
}

bool hold_is_traced(int pid)
{
	char tracer[32];

	return status_of(pid, "TracerPid:\t", tracer) && atoi(tracer);
}

static bool is_stopped(int pid)
{
	char state[32];

	return status_of(pid, "State:\t", state) && *state == 'T';
}

/* Does a SIGSTOP wait for the task? */
static bool is_held(int pid)
{
	char pending[32];

	return status_of(pid, "ShdPnd:\t", pending) && strtoull(pending, NULL, 16) >> (SIGSTOP - 1) & 1;
}

static int add(int **v, size_t *nr, int number)
{
	int *more = reallocarray(*v, *nr + 1, sizeof(**v));

	if (!more)
		return -ENOMEM;
	*v = more;
	more[(*nr)++] = number;
	return 0;
}

static int send_signal(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

int hold_note(struct hold *hold, int root)
{
	struct tree tree = { 0 };
	int err = tree_read(&tree, root);

	for (size_t i = 0; err >= 0 && i < tree.nr; i++) {
		if (is_stopped(tree.v[i].pid))
			err = add(&hold->pids, &hold->nr_pids, tree.v[i].pid);
	}
	tree_fini(&tree);
	return err < 0 ? err : 0;
}

static bool was_stopped(const struct hold *hold, int pid)
{
	size_t i = 0;

	while (i < hold->nr_pids && hold->pids[i] != pid)
		i++;
	return i < hold->nr_pids;
}

int hold_take(struct hold *hold, int root)
{
	struct tree tree = { 0 };
	int err = tree_read(&tree, root);

	for (size_t i = 0; err >= 0 && i < tree.nr; i++) {
		int pidfd = was_stopped(hold, tree.v[i].pid) ? -1 : (int)syscall(SYS_pidfd_open, tree.v[i].pid, 0);

		if (pidfd < 0)
			continue;
		err = add(&hold->pidfds, &hold->nr, pidfd);
		if (err)
			close(pidfd);
		else if (send_signal(pidfd, SIGSTOP) == -EPERM)
			err = -EPERM;
	}
	tree_fini(&tree);
	return err < 0 ? err : 0;
}

void hold_release(const struct hold *hold)
{
	for (size_t i = 0; i < hold->nr; i++)
		(void)send_signal(hold->pidfds[i], SIGCONT);
}

void hold_end(const struct hold *hold)
{
	for (size_t i = 0; i < hold->nr; i++)
		(void)send_signal(hold->pidfds[i], SIGKILL);
}

void hold_fini(struct hold *hold)
{
	for (size_t i = 0; i < hold->nr; i++)
		close(hold->pidfds[i]);
	free(hold->pidfds);
	free(hold->pids);
	*hold = (struct hold){ 0 };
}

void hold_kill(int root)
{
	struct tree tree = { 0 };

	if (tree_read(&tree, root) > 0) {
		for (size_t i = tree.nr; i-- > 0;)
			(void)kill(tree.v[i].pid, SIGKILL);
	}
	tree_fini(&tree);
}

void hold_release_frozen(int root)
{
	struct tree tree = { 0 };
	const int err = tree_read(&tree, root);

	for (size_t i = 0; err >= 0 && i < tree.nr; i++) {
		if (is_held(tree.v[i].pid))
			(void)kill(tree.v[i].pid, SIGCONT);
	}
	tree_fini(&tree);
}
