// SPDX-License-Identifier: GPL-2.0-only
/*
 * verdict.c - a symbolic link, made and replaced at one stroke, whose text is the verdict. Calls the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "verdict.h"

#define LINK "verdict"

const char *const verdict_names[] = {
	[VERDICT_GOING] = "going",
	[VERDICT_RUNNING] = "running",
	[VERDICT_FAILED] = "failed",
	[VERDICT_CANCELLED] = "cancelled",
};

int verdict_lock(int dir)
{
	/* criu inherits it, so that it is held as long as one of the two lives. */
	int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	int err = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;

	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

int verdict_say(int dir, enum verdict verdict)
{
	return symlinkat(verdict_names[verdict], dir, LINK) < 0 ? -errno : 0;
}

int verdict_change(int dir, enum verdict verdict)
{
	/* Of one that was killed here. */
	(void)unlinkat(dir, LINK ".new", 0);
	if (symlinkat(verdict_names[verdict], dir, LINK ".new") < 0)
		return -errno;
	return renameat(dir, LINK ".new", dir, LINK) < 0 ? -errno : 0;
}

int verdict_read(int dir)
{
	char text[16] = "";

	if (readlinkat(dir, LINK, text, sizeof(text) - 1) < 0)
		return -errno;
	for (int i = 0; i <= VERDICT_CANCELLED; i++) {
		if (!strcmp(text, verdict_names[i]))
			return i;
	}
	return -EBADMSG;
}
