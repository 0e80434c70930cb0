// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - read /proc/PID/mem. Calls the kernel only.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "memory.h"

/* Who reads just now, and the limit that is to be put back after the last one (memory.h). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int readers;
static struct rlimit stacks;

int memory_open(int proc_dir)
{
	int fd = openat(proc_dir, "mem", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* From here on no stack grows by our reading. Returns 0 or a negative errno. */
static int hold_stacks(void)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!readers) {
		struct rlimit none;

		err = getrlimit(RLIMIT_STACK, &stacks) ? -errno : 0;
		none = (struct rlimit){ 0, stacks.rlim_max };
		if (!err && setrlimit(RLIMIT_STACK, &none))
			err = -errno;
	}
	readers += !err;
	pthread_mutex_unlock(&lock);
	return err;
}

static int let_stacks(void)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!--readers && setrlimit(RLIMIT_STACK, &stacks))
		err = -errno;
	pthread_mutex_unlock(&lock);
	return err;
}

static ssize_t read_ranges(int fd, void *to, const struct iovec *from, size_t nr)
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

ssize_t memory_read(int fd, void *to, const struct iovec *from, size_t nr)
{
	ssize_t got;
	int err = hold_stacks();

	if (err)
		return err;
	got = read_ranges(fd, to, from, nr);
	err = let_stacks();
	return err ? err : got;
}
