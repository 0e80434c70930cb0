// SPDX-License-Identifier: GPL-2.0-only
/*
 * identity.c - read a task's identity from /proc/PID/stat (proc_pid_stat(5)), and fields of /proc/PID/status. Calls the
 * kernel only.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "identity.h"

int identity_open(int pid)
{
	char path[32];
	int dir;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return dir;
}

int identity_read(int proc_dir, struct identity *id)
{
	char text[1024];
	const char *rest;
	ssize_t len;
	int fd = openat(proc_dir, "stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	if (len < 0)
		return (int)len;
	text[len] = '\0';

	/* The name, field 2, may hold anything, brackets and spaces too: fields are counted from its last bracket. */
	rest = strrchr(text, ')');
	*id = (struct identity){ 0 };
	if (!rest || sscanf(text, "%" SCNd32, &id->pid) != 1 ||
	    sscanf(rest + 1,
		   " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64
		   " %*s %*s %*s %*s %*s %" SCNu64,
		   &id->start_time, &id->stack) != 2)
		return -EINVAL;
	return 0;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->pid == b->pid && a->start_time == b->start_time && a->stack == b->stack;
}

int identity_status(int proc_dir, const char *field)
{
	const size_t len = strlen(field);
	char *line = NULL;
	size_t room = 0;
	int number = -EIO;
	int fd = openat(proc_dir, "status", O_RDONLY | O_CLOEXEC);
	FILE *status = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (!status) {
		number = -errno;
		if (fd >= 0)
			close(fd);
		return number;
	}
	while (number < 0 && getline(&line, &room, status) > 0) {
		const char *last = strrchr(line, '\t');

		if (last && !strncmp(line, field, len) && line[len] == ':')
			number = atoi(last + 1);
	}
	free(line);
	fclose(status);
	return number;
}
