// SPDX-License-Identifier: GPL-2.0-only
/*
 * limits.c - look through the cgroups for limits. Calls mounts.
 *
 * A limit applies to whatever was in the cgroup when it was read (block/blk-throttle.c, blk_throtl_bio), and the task may
 * have been elsewhere then. So all cgroups are looked at: those of the hierarchy that has the blkio controller, which is
 * one of version 1 or else the unified one. Its root, seen from the machine's own cgroup namespace, has all.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limits.h"
#include "mounts.h"

#define INIT_CGROUP_NAMESPACE 0xEFFFFFFBU /* include/linux/proc_ns.h, PROC_CGROUP_INIT_INO */

struct hierarchy {
	bool unified;
	char point[128]; /* where it is mounted; empty: nowhere that we see */
};

/* Does one of the @names, separated by commas, be @name? */
static bool is_among(const char *names, const char *name)
{
	const size_t len = strlen(name);

	for (const char *at = names; (at = strstr(at, name)); at += len) {
		if ((at == names || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	}
	return false;
}

/* Of version 1 if one of those has the controller. Returns 0 or a negative errno. */
static int find_version(struct hierarchy *hierarchy)
{
	char *line = NULL, *rest;
	size_t room = 0;
	FILE *file;

	file = fopen("/proc/self/cgroup", "re");
	if (!file)
		return -errno;
	hierarchy->unified = true;
	while (errno = 0, getline(&line, &room, file) > 0) {
		rest = line; /* "7:blkio,net_cls:/path" */
		strsep(&rest, ":");
		if (is_among(rest ? strsep(&rest, ":") : "", "blkio"))
			hierarchy->unified = false;
	}
	room = (size_t)errno;
	free(line);
	fclose(file);
	return -(int)room;
}

static int is_root_of(void *ctx, const struct mount *mount)
{
	struct hierarchy *hierarchy = ctx;

	if (strcmp(mount->root, "/") || strlen(mount->point) >= sizeof(hierarchy->point))
		return 0;
	if (hierarchy->unified ? strcmp(mount->type, "cgroup2") :
				 strcmp(mount->type, "cgroup") || !is_among(mount->options, "blkio"))
		return 0;
	snprintf(hierarchy->point, sizeof(hierarchy->point), "%s", mount->point);
	return 1;
}

/* Does the file @name of a cgroup have a line for the disk? 1, 0, or a negative errno: -ENOENT where there is no such file. */
static int has_line(int cgroup, const char *name, const char *disk)
{
	const size_t len = strlen(disk);
	char *line = NULL;
	size_t room = 0;
	int result = 0, fd;
	FILE *file;

	fd = openat(cgroup, name, O_RDONLY | O_CLOEXEC);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file) {
		result = -errno;
		if (fd >= 0)
			close(fd);
		return result;
	}
	while (!result && (errno = 0, getline(&line, &room, file) > 0))
		result = !strncmp(line, disk, len) && line[len] == ' ';
	if (!result)
		result = -errno;
	free(line);
	fclose(file);
	return result;
}

/* 1, 0, or a negative errno. */
static int has_limit(int cgroup, bool unified, const char *disk)
{
	int result;

	if (unified)
		return has_line(cgroup, "io.max", disk);
	result = has_line(cgroup, "blkio.throttle.read_bps_device", disk);
	return result ? result : has_line(cgroup, "blkio.throttle.read_iops_device", disk);
}

static int look_in(int cgroup, bool unified, bool root, const char *disk);

/* Takes the open directory @cgroup. As look_in(). */
static int look_below(int cgroup, bool unified, const char *disk)
{
	const struct dirent *entry;
	DIR *dir = fdopendir(cgroup);
	int result = 0;

	if (!dir) {
		result = -errno;
		close(cgroup);
		return result;
	}
	while (!result && (errno = 0, entry = readdir(dir))) {
		int below;

		if (entry->d_type != DT_DIR || *entry->d_name == '.')
			continue;
		below = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below >= 0)
			result = look_in(below, unified, false, disk);
		else
			result = errno == ENOENT ? 0 : -errno;
	}
	if (!result)
		result = -errno;
	closedir(dir);
	return result;
}

/* Takes the open directory @cgroup. 1 if it or one below has a limit, 0, or a negative errno. */
static int look_in(int cgroup, bool unified, bool root, const char *disk)
{
	int result = has_limit(cgroup, unified, disk);

	/* Where the controller is off it is off below, too; the unified root, alone, has it on without that file. */
	if (!result || (result == -ENOENT && unified && root))
		return look_below(cgroup, unified, disk);
	close(cgroup);
	return result == -ENOENT || result == -ENODEV ? 0 : result; /* off, or removed meanwhile */
}

int limits_none(const char *disk, struct reason *why)
{
	struct hierarchy hierarchy = { 0 };
	struct stat namespace;
	int err, root;

	if (stat("/proc/self/ns/cgroup", &namespace))
		return reason_set(why, -errno, "cannot see which cgroup namespace this is: %s", strerror(errno));
	if (namespace.st_ino != INIT_CGROUP_NAMESPACE)
		return reason_set(why, -EPERM, "limits for reads cannot be seen from this cgroup namespace");
	err = find_version(&hierarchy);
	if (!err)
		err = mounts_each(getpid(), is_root_of, &hierarchy);
	if (err < 0)
		return reason_set(why, err, "cannot see where cgroups are mounted: %s", strerror(-err));
	if (!err)
		return reason_set(why, -ENOENT, "the cgroups that may limit reads are not mounted here");

	root = open(hierarchy.point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = root < 0 ? -errno : look_in(root, hierarchy.unified, true, disk);
	if (err < 0)
		return reason_set(why, err, "cannot look through the cgroups in %s: %s", hierarchy.point,
				  strerror(-err));
	if (err)
		return reason_set(why, -EBUSY, "a cgroup in %s limits reads from %s, and what waits is not counted",
				  hierarchy.point, disk);
	return 0;
}
