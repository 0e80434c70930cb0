// SPDX-License-Identifier: GPL-2.0-only
/*
 * locks.c - locks on files in `criu restore`. Calls slots, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "locks.h"
#include "log.h"

static int taken(int fd, int result)
{
	char link[32], path[PATH_MAX] = "";
	const int saved = errno;

	if (result < 0 && (saved == EAGAIN || saved == EACCES)) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		(void)!readlink(link, path, sizeof(path) - 1);
		pr_err("%s is locked, by what is being moved if both machines see that file: what holds such a lock "
		       "cannot be moved\n",
		       path);
	}
	errno = saved;
	return result;
}

static int on_fcntl(int fd, int command, ...)
{
	unsigned long arg;
	va_list args;

	va_start(args, command);
	arg = va_arg(args, unsigned long);
	va_end(args);
	return command == F_SETLKW ? taken(fd, fcntl(fd, F_SETLK, arg)) : fcntl(fd, command, arg);
}

static int on_flock(int fd, int operation)
{
	return taken(fd, flock(fd, operation | LOCK_NB));
}

void locks_bind(const struct elf *elf)
{
	struct slot slots[] = {
		{ "fcntl64", "fcntl", (void *)on_fcntl, false },
		{ "flock", NULL, (void *)on_flock, false },
	};

	(void)slots_bind(elf, slots, sizeof(slots) / sizeof(*slots));
}
