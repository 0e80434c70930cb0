// SPDX-License-Identifier: GPL-2.0-only
/*
 * remote.c - run a system call in a stopped task. Calls CRIU's libcompel (pagescan-criu.h).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <pagescan-criu.h>

#include "remote.h"

/* The numbers of system calls are those of our own word size. */
static bool same_word_size(int pid)
{
	unsigned char ident[EI_NIDENT] = { 0 };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, ident, sizeof(ident)) < 0)
		ident[EI_CLASS] = ELFCLASSNONE;
	close(fd);
	return ident[EI_CLASS] == (sizeof(long) == 8 ? ELFCLASS64 : ELFCLASS32);
}

static int remote_syscall(void *ctx, long nr, const unsigned long args[6], long *result)
{
	struct remote_task *task = ctx;

	if (!task->ctl) {
		if (!same_word_size(task->pid))
			return -ENOEXEC;
		task->ctl = criu.compel_prepare(task->pid);
		if (!task->ctl)
			return -EPERM;
	}
	if (criu.compel_syscall(task->ctl, (int)nr, result, args[0], args[1], args[2], args[3], args[4], args[5]))
		return -EIO;
	return 0;
}

void remote_init(struct remote_task *task, int pid)
{
	*task = (struct remote_task){ .pid = pid, .remote.syscall = remote_syscall, .remote.ctx = task };
}

void remote_fini(struct remote_task *task)
{
	if (!task->ctl)
		return;
	/* compel_prepare() makes a socket for a parasite that is never sent; compel_cure_local() leaves it open. */
	close(criu.compel_infect_ctx(task->ctl)->sock);
	criu.compel_cure_local(task->ctl);
	task->ctl = NULL;
}
