// SPDX-License-Identifier: GPL-2.0-only
/*
 * container_last.c - the directory that a runtime restores a container from, while it does not have its images yet. Calls
 * image, jansson, the kernel.
 *
 * runc opens it when it starts, and hands the descriptor to criu; so it cannot become another one, and the last images
 * come to it when they are known to be the last. Of what is in it the runtime reads one file beforehand.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "container.h"
#include "image/image.h"

/* A list of strings, what the descriptors 0 to 2 of the root process were, as in /proc/PID/fd; of interest are pipes. */
#define DESCRIPTORS "descriptors.json"

int container_describe(int dir, int pid, struct reason *why)
{
	int fd = openat(dir, DESCRIPTORS, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err = -EIO;
	json_t *list = json_array();

	for (int i = 0; i < 3; i++) {
		char path[64], target[4096];
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, i);
		len = readlink(path, target, sizeof(target));
		json_array_append_new(list, json_stringn_nocheck(target, len < 0 ? 0 : (size_t)len));
	}
	if (fd >= 0 && json_array_size(list) == 3 && !json_dumpfd(list, fd, JSON_COMPACT))
		err = 0;
	json_decref(list);
	if (fd >= 0)
		close(fd);
	return err ? reason_set(why, err, "cannot write " DESCRIPTORS) : 0;
}

int container_begin_last(int dir)
{
	if (mkdirat(dir, "last", 0700) < 0 || linkat(dir, "1/" DESCRIPTORS, dir, "last/" DESCRIPTORS, 0) < 0)
		return -errno;
	return 0;
}

static json_t *read_descriptors(int dir)
{
	int fd = openat(dir, DESCRIPTORS, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	json_t *list = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);

	if (fd >= 0)
		close(fd);
	return list;
}

/* The pipe that a descriptor is, "" if it is none. */
static const char *pipe_at(const json_t *list, size_t at)
{
	const char *target = json_string_value(json_array_get(list, at));

	return target && strstr(target, "pipe:") ? target : "";
}

static bool have_same_pipes(int one, int other)
{
	json_t *a = read_descriptors(one), *b = read_descriptors(other);
	bool same = json_is_array(a) && json_is_array(b);

	for (size_t i = 0; same && (i < json_array_size(a) || i < json_array_size(b)); i++)
		same = !strcmp(pipe_at(a, i), pipe_at(b, i));
	json_decref(a);
	json_decref(b);
	return same;
}

/* All files of the directory @from, which goes on existing, into @to. Returns 0 or a negative errno. */
static int move_files(int from, int to)
{
	DIR *list = image_list(from, ".");
	const struct dirent *entry;
	int err = 0;

	if (!list)
		return -errno;
	while (!err && (entry = readdir(list))) {
		const bool is_file = strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");

		if (is_file && renameat(from, entry->d_name, to, entry->d_name) < 0)
			err = -errno;
	}
	closedir(list);
	return err;
}

int container_complete_last(int dir, const char *name, bool *same)
{
	int from = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to = -1, err = 0;

	if (mkdirat(dir, "last", 0700) < 0 && errno != EEXIST)
		err = -errno;
	to = openat(dir, "last", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err && (from < 0 || to < 0))
		err = -errno;
	*same = !err && have_same_pipes(from, to);
	if (!err)
		err = move_files(from, to);
	if (!err && (unlinkat(dir, name, AT_REMOVEDIR) < 0 || symlinkat("last", dir, name) < 0))
		err = -errno;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return err;
}
