/* SPDX-License-Identifier: GPL-2.0-only */
/* Child processes of a test, keepers among them; none of them outlives the test, and no wait is without an end. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "track/keeper.h"
#include "unit.h"

#define NOBODY 65534

/* How often a wait naps, for 5 ms, before it gives up: two minutes, so that it does not matter how busy the machine is. */
#define NAPS 24000

static inline pid_t start_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static inline void nap(long ms)
{
	const struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

/* The exit code of a child, or minus the signal that ended it; -1000 if it does not end. */
static inline int await_end(pid_t pid)
{
	int status;

	for (int i = 0; i < NAPS; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
		nap(5);
	}
	return -1000;
}

static inline void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	await_end(pid);
}

static inline int open_proc(pid_t pid)
{
	char path[32];
	int dir;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	return dir;
}

static inline struct identity identity_of(pid_t pid)
{
	struct identity id;
	int dir = open_proc(pid);

	assert_int_equal(identity_read(dir, &id), 0);
	close(dir);
	return id;
}

/* How many descriptors the process has open. */
static inline int count_fds(pid_t pid)
{
	int dir = open_proc(pid);
	DIR *fds = fdopendir(openat(dir, "fd", O_RDONLY | O_DIRECTORY));
	int nr = 0;

	assert_non_null(fds);
	while (readdir(fds))
		nr++;
	closedir(fds);
	close(dir);
	return nr - 2; /* "." and ".." */
}

/* The value of a line of status. */
static inline void read_status(pid_t pid, const char *name, char value[64])
{
	int dir = open_proc(pid);
	FILE *status = fdopen(openat(dir, "status", O_RDONLY), "r");
	char line[256];

	assert_non_null(status);
	*value = '\0';
	while (fgets(line, sizeof(line), status)) {
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %63s", value);
	}
	fclose(status);
	close(dir);
}

static inline bool becomes_readable(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	return poll(&wait, 1, NAPS * 5) == 1;
}

/* Sanitizers look for leaks in _exit(), with system calls that a confined process does not have any more. */
static inline void end_confined(int code)
{
	syscall(SYS_exit_group, code);
}

/* A keeper as a child of ours, as the given user (0: as we are). Returns when it listens, or another one does. */
static inline pid_t start_keeper(uid_t uid)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = start_child();
	if (!pid) {
		close(ready[0]);
		if (uid && (setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || prctl(PR_SET_DUMPABLE, 1)))
			_exit(2);
		end_confined(keeper_serve(ready[1], NULL) ? 1 : 0);
	}
	close(ready[1]);
	assert_true(becomes_readable(ready[0]));
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(read(ready[0], &byte, 1), 0); /* it has closed its end */
	close(ready[0]);
	return pid;
}

#endif
