// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - read /proc/PID/mem. Calls the kernel only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "memory.h"

int memory_open(int proc_dir)
{
	int fd = openat(proc_dir, "mem", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

ssize_t memory_read(int fd, void *to, const struct iovec *from, size_t nr)
{
	ssize_t done = 0;

	for (size_t i = 0; i < nr; i++) {
		ssize_t got = pread(fd, (char *)to + done, from[i].iov_len, (off_t)(uintptr_t)from[i].iov_base);

		if (got > 0)
			done += got;
		if (got == (ssize_t)from[i].iov_len)
			continue;
		if (done)
			return done;
		if (!got)
			return -ESRCH; /* nobody has the memory any more (fs/proc/base.c, mem_rw) */
		return errno == EIO ? -EFAULT : -errno;
	}
	return done;
}
