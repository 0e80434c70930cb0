// SPDX-License-Identifier: GPL-2.0-only
/*
 * descriptors.c - read /proc/PID/fd and /proc/PID/fdinfo. Calls the kernel only.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "descriptors.h"

int descriptors_each(int pid, int (*look)(void *ctx, const char *fd, const char *link), void *ctx)
{
	const struct dirent *entry;
	char path[64], link[128];
	int result = 0;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	if (!fds)
		return -errno;
	while (!result && (errno = 0, entry = readdir(fds))) {
		ssize_t len;

		if (*entry->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%.10s", pid, entry->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		if (len < 0 && errno == ENOENT)
			continue; /* closed meanwhile, by a task that runs */
		if (len < 0) {
			result = -errno;
			break;
		}
		link[len] = '\0';
		result = look(ctx, entry->d_name, link);
	}
	if (!result)
		result = -errno;
	closedir(fds);
	return result;
}

int descriptors_info(int pid, const char *fd, const char *field, char *text, size_t size)
{
	const size_t len = strlen(field);
	char path[64], *line = NULL;
	size_t room = 0;
	int err = -EIO; /* until the line is there */
	FILE *info;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.10s", pid, fd);
	info = fopen(path, "re");
	if (!info)
		return -errno;
	while (err && getline(&line, &room, info) > 0) {
		if (strncmp(line, field, len) || strncmp(line + len, ":\t", 2))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(text, size, "%s", line + len + 2);
		err = 0;
	}
	free(line);
	fclose(info);
	return err;
}
