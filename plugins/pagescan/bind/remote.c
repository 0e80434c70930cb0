// SPDX-License-Identifier: GPL-2.0-only
/*
 * remote.c - run a system call in a stopped task. Calls CRIU's libcompel (pagescan-criu.h), sequence.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pagescan-criu.h>

#include "remote.h"

/* The numbers of system calls are those of our own word size. Returns 0, -ENOEXEC, or what kept it from being told. */
static int check_word_size(int pid)
{
	unsigned char ident[EI_NIDENT] = { 0 };
	char path[32];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (read(fd, ident, sizeof(ident)) < 0)
		err = -errno;
	else if (ident[EI_CLASS] != (sizeof(long) == 8 ? ELFCLASS64 : ELFCLASS32))
		err = -ENOEXEC;
	close(fd);
	return err;
}

/*
 * compel_prepare() looks for executable memory in maps, whose lines it reads in pieces of 127 bytes. A piece from the middle of
 * a long name that has an x in the right place passes for an area, one of no size, and ends criu by a BUG_ON
 * (compel/src/lib/infect.c, find_executable_area). So the same is done here first.
 */
static bool area_can_be_found(int pid)
{
	bool looks_executable = false, is_large_enough = false;
	char path[32], piece[128];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	while (!looks_executable && fgets(piece, sizeof(piece), maps)) {
		char *at;
		const unsigned long start = strtoul(piece, &at, 16), end = strtoul(at + 1, &at, 16);

		looks_executable = at[3] == 'x';
		is_large_enough = end - start >= PARASITE_START_AREA_MIN;
	}
	fclose(maps);
	return looks_executable && is_large_enough;
}

static int remote_syscall(void *ctx, long nr, const unsigned long args[6], long *result)
{
	struct remote_task *task = ctx;

	if (!task->ctl) {
		int err = check_word_size(task->pid);

		if (err)
			return err;
		if (!area_can_be_found(task->pid))
			return -EOPNOTSUPP;
		sequence_keep(&task->sequence, task->pid);
		task->ctl = criu.compel_prepare(task->pid, false);
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

/* Is it what the field of CRIU's structure says, or is that laid out otherwise than when this was built? */
static bool is_compel_socket(int fd)
{
	socklen_t size = sizeof(int);
	int type;

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_SEQPACKET;
}

void remote_fini(struct remote_task *task)
{
	int sock;

	if (!task->ctl)
		return;
	/* compel_prepare() makes a socket for a parasite that is never sent; compel_cure_local() leaves it open. */
	sock = criu.compel_infect_ctx(task->ctl)->sock;
	if (is_compel_socket(sock))
		close(sock);
	criu.compel_cure_local(task->ctl);
	sequence_put_back(&task->sequence, task->pid);
	task->ctl = NULL;
}
