// SPDX-License-Identifier: GPL-2.0-only
/*
 * container.c - name the container that a process is in. Calls the kernel only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"

/* One part of a path, which is not a string. */
struct part {
	const char *text;
	size_t len;
};

static bool ends_with(const struct part *part, const char *end)
{
	size_t len = strlen(end);

	return part->len >= len && !memcmp(part->text + part->len - len, end, len);
}

/* Cut it off. Returns whether it was there. */
static bool cut_end(struct part *part, const char *end)
{
	bool there = ends_with(part, end);

	part->len -= there ? strlen(end) : 0;
	return there;
}

static bool cut_begin(struct part *part, const char *begin)
{
	size_t len = strlen(begin);
	bool there = part->len > len && !memcmp(part->text, begin, len);

	part->text += there ? len : 0;
	part->len -= there ? len : 0;
	return there;
}

static bool is_id(const char *text, size_t len)
{
	return len == CONTAINER_ID && strspn(text, "0123456789abcdef") >= len;
}

/* Has a runtime made this group for a container? Then @part becomes the container's id or name. */
static bool is_of_runtime(struct part *part)
{
	bool scope = cut_end(part, ".scope");

	if (part->len >= CONTAINER_ID && is_id(part->text + part->len - CONTAINER_ID, CONTAINER_ID) &&
	    (part->len == CONTAINER_ID || part->text[part->len - CONTAINER_ID - 1] == '-')) {
		part->text += part->len - CONTAINER_ID;
		part->len = CONTAINER_ID;
		return true;
	}
	return scope && (cut_begin(part, "runc-") || cut_begin(part, "crun-"));
}

/* Groups that runtimes and init systems make for parts of a container. */
static bool is_inside(const struct part *part)
{
	return (part->len == strlen("container") && ends_with(part, "container")) ||
	       (part->len == strlen("init.scope") && ends_with(part, "init.scope"));
}

static void take(char name[CONTAINER_NAME], const struct part *part)
{
	snprintf(name, CONTAINER_NAME, "%.*s", (int)part->len, part->text);
}

/*
 * Look at @path from its end. *last becomes its last part that may name a container, if there is one. Returns whether
 * a part is a runtime's, which then is in @part.
 */
static bool look_through(struct part path, struct part *part, struct part *last)
{
	cut_end(&path, " (deleted)");
	while (path.len) {
		const char *slash = memrchr(path.text, '/', path.len);
		struct part here;

		if (!slash)
			return false;
		here.text = slash + 1;
		here.len = path.len - (size_t)(here.text - path.text);
		path.len = (size_t)(slash - path.text);
		*part = here;
		if (is_of_runtime(part))
			return true;
		if (!last->len && !is_inside(&here))
			*last = here;
	}
	return false;
}

static bool has_line(const char *text, const char *line, size_t len)
{
	while (*text) {
		size_t here = strcspn(text, "\n");

		if (here == len && !memcmp(text, line, len))
			return true;
		text += here + (text[here] == '\n');
	}
	return false;
}

void container_name(const char *groups, const char *ours, char name[CONTAINER_NAME])
{
	struct part part, last = { groups, 0 };

	name[0] = '\0';
	/* "hierarchy:controllers:path", of which only the path may hold a colon. */
	while (*groups) {
		size_t len = strcspn(groups, "\n");
		const char *colon = memchr(groups, ':', len);
		const char *path = colon ? memchr(colon + 1, ':', len - (size_t)(colon + 1 - groups)) : NULL;
		struct part found = { groups, 0 };

		if (path && look_through((struct part){ path + 1, len - (size_t)(path + 1 - groups) }, &part, &found)) {
			take(name, &part);
			return;
		}
		/* A runtime need not make groups in all hierarchies. */
		if (!last.len && ours && !has_line(ours, groups, len))
			last = found;
		groups += len + (groups[len] == '\n');
	}
	take(name, &last);
}

/* A process that may not be looked at counts as one with our pids. */
static bool is_apart(int proc_dir)
{
	struct stat its, ours;

	return !fstatat(proc_dir, "ns/pid", &its, 0) && !stat("/proc/self/ns/pid", &ours) &&
	       (its.st_ino != ours.st_ino || its.st_dev != ours.st_dev);
}

/* The whole text, the caller's: a name holds no zero byte. NULL, with errno, if it cannot be read. */
static char *read_groups(int proc_dir)
{
	int fd = openat(proc_dir, "cgroup", O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char *groups = NULL;
	size_t room = 0;
	int err = 0;

	if (!file) {
		err = errno;
		if (fd >= 0)
			close(fd);
		errno = err;
		return NULL;
	}
	errno = 0;
	if (getdelim(&groups, &room, '\0', file) < 0) {
		err = errno ? errno : ENODATA;
		free(groups);
		groups = NULL;
	}
	fclose(file);
	errno = err;
	return groups;
}

int container_of(int proc_dir, char name[CONTAINER_NAME])
{
	char *groups = read_groups(proc_dir), *ours = NULL;
	int self, err = 0;

	name[0] = '\0';
	if (!groups)
		return errno == ENODATA ? 0 : -errno;
	if (is_apart(proc_dir)) {
		self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
		ours = self >= 0 ? read_groups(self) : NULL;
		err = ours ? 0 : -errno;
		if (self >= 0)
			close(self);
	}
	if (!err)
		container_name(groups, ours, name);
	free(groups);
	free(ours);
	return err;
}

int container_shown(const char *name)
{
	size_t len = strlen(name);

	return is_id(name, len) ? CONTAINER_ID_SHOWN : (int)len;
}
