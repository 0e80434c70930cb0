// SPDX-License-Identifier: GPL-2.0-only
/*
 * find.c - which criu `pagescan criu` runs, never itself, and which one others get. Calls libc only.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd.h"

static bool is_program(const char *path)
{
	char magic[SELFMAG] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool yes = fd >= 0 && read(fd, magic, SELFMAG) == SELFMAG && !memcmp(magic, ELFMAG, SELFMAG);

	if (fd >= 0)
		close(fd);
	return yes && !access(path, X_OK);
}

/* Scripts of this kind are short, and say it in so many words. */
static bool is_launcher(const char *path)
{
	char text[1024];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	return len > 2 && !memcmp(text, "#!", 2) && memmem(text, (size_t)len, "pagescan criu", strlen("pagescan criu"));
}

/* criu.distrib: what dpkg-divert(1) calls a criu in whose place something else stands. */
static char *program_in(const char *dir)
{
	static const char *const names[] = { "criu", "criu.distrib" };

	for (size_t i = 0; *dir && i < sizeof(names) / sizeof(*names); i++) {
		char *path;

		if (asprintf(&path, "%s/%s", dir, names[i]) < 0)
			return NULL;
		if (is_program(path))
			return path;
		free(path);
	}
	return NULL;
}

char *find_criu(void)
{
	const char *wanted = getenv("PAGESCAN_CRIU");
	const char *path = getenv("PATH");
	char *found = NULL, *list, *rest, *dir;

	if (wanted && *wanted)
		return access(wanted, X_OK) ? NULL : strdup(wanted);

	/* criu lies in sbin, which is not in everybody's PATH. */
	if (asprintf(&list, "%s:/usr/local/sbin:/usr/sbin:/sbin", path ? path : "") < 0)
		return NULL;
	for (rest = list; !found && (dir = strsep(&rest, ":"));)
		found = program_in(dir);
	free(list);
	return found;
}

char *need_criu(void)
{
	const char *wanted = getenv("PAGESCAN_CRIU");
	char *criu = find_criu();

	if (wanted && !*wanted)
		wanted = NULL;
	if (!criu)
		complain("cannot find criu%s%s; install CRIU 4.0 or later, or set PAGESCAN_CRIU to its path",
			 wanted ? " at " : " in PATH", wanted ? wanted : "");
	return criu;
}

/* Root has all capabilities anyway; to the kernel a file adds none then (security/commoncap.c). */
bool ignores_preload(const char *criu)
{
	struct stat st;

	if (stat(criu, &st) || !is_program(criu))
		return false;
	return (st.st_mode & S_ISUID && st.st_uid != getuid()) ||
	       (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != getgid()) ||
	       (getuid() && getxattr(criu, "security.capability", NULL, 0) > 0);
}

char *criu_of_others(const char *path, enum criu_way *way)
{
	char *list = strdup(path), *rest = list, *dir, *found = NULL, *real = NULL;
	struct stat st;

	while (!found && (dir = strsep(&rest, ":"))) {
		if (asprintf(&found, "%s/criu", *dir ? dir : ".") < 0) {
			found = NULL;
		} else if (access(found, X_OK) || stat(found, &st) || !S_ISREG(st.st_mode)) {
			free(found);
			found = NULL;
		}
	}
	*way = found && is_launcher(found) ? CRIU_LAUNCHER : CRIU_PLAIN;
	if (*way == CRIU_LAUNCHER && asprintf(&real, "%s.distrib", found) > 0 && is_program(real))
		*way = CRIU_DIVERTED;
	free(real);
	free(list);
	return found;
}

bool criu_version(const char *criu, char *version, size_t size)
{
	FILE *out;
	bool ok;

	version[0] = '\0';
	setenv("PAGESCAN_CHECK", criu, 1); /* a path needs no quoting this way */
	out = popen("exec \"$PAGESCAN_CHECK\" --version 2>/dev/null", "re");
	ok = out && fgets(version, (int)size, out);
	version[strcspn(version, "\n")] = '\0';
	if (out)
		ok = !pclose(out) && ok;
	return ok;
}
