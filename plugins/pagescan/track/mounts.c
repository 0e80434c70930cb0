// SPDX-License-Identifier: GPL-2.0-only
/*
 * mounts.c - read /proc/PID/mountinfo. Calls the kernel only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mounts.h"

/* "36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue" */
static int parse(char *line, struct mount *mount)
{
	char *words[5], *last[3], *tail = strstr(line, " - ");

	line[strcspn(line, "\n")] = '\0';
	if (!tail)
		return -EIO;
	*tail = '\0';
	tail += 3;
	for (size_t i = 0; i < 5; i++)
		words[i] = strsep(&line, " ");
	for (size_t i = 0; i < 3; i++)
		last[i] = strsep(&tail, " ");
	if (!words[4] || !last[2])
		return -EIO;
	*mount = (struct mount){
		.id = strtoull(words[0], NULL, 10),
		.device = words[2],
		.root = words[3],
		.point = words[4],
		.type = last[0],
		.options = last[2],
	};
	return 0;
}

int mounts_each(int pid, int (*look)(void *ctx, const struct mount *mount), void *ctx)
{
	char path[64], *line = NULL;
	struct mount mount;
	size_t room = 0;
	int result = 0;
	FILE *mounts;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	mounts = fopen(path, "re");
	if (!mounts)
		return -errno;
	while (!result && (errno = 0, getline(&line, &room, mounts) > 0)) {
		result = parse(line, &mount);
		if (!result)
			result = look(ctx, &mount);
	}
	if (!result)
		result = -errno;
	free(line);
	fclose(mounts);
	return result;
}
