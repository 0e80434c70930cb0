// SPDX-License-Identifier: GPL-2.0-only
/*
 * uffd.c - make a userfaultfd in a frozen task and work on its areas. Calls the kernel, and the task through remote.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scan/uapi.h"
#include "uffd.h"

static int run(const struct remote *remote, long nr, unsigned long arg, long *result)
{
	const unsigned long args[6] = { arg };

	return remote->syscall(remote->ctx, nr, args, result);
}

/*
 * pidfd_getfd(2) duplicates the task's descriptor; the userfaultfd goes on watching the memory of the task that made
 * it (fs/userfaultfd.c: ctx->mm is taken at creation).
 */
static int take(int pid, int remote_fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int fd;

	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, remote_fd, 0);
	if (fd < 0)
		fd = -errno;
	close(pidfd);
	return fd;
}

int uffd_create(int pid, const struct remote *remote, struct reason *why)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC };
	long remote_fd, closed;
	int err, uffd;

	/*
	 * Faults of the kernel on the task's behalf need no handling here, as asynchronous write-protection never
	 * waits for a handler: the user-mode-only kind does, and that one needs no privilege of the task.
	 */
	err = run(remote, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY, &remote_fd);
	if (err)
		return reason_set(why, err, "cannot run a system call in the task: %s", strerror(-err));
	if (remote_fd == -EMFILE)
		return reason_set(why, -EMFILE, "the task has no free descriptor (its RLIMIT_NOFILE is used up)");
	if (remote_fd < 0)
		return reason_set(why, (int)remote_fd, "userfaultfd in the task: %s", strerror((int)-remote_fd));

	uffd = take(pid, (int)remote_fd);
	err = run(remote, SYS_close, (unsigned long)remote_fd, &closed);
	if (uffd < 0)
		return reason_set(why, uffd, "pidfd_getfd of descriptor %ld: %s", remote_fd, strerror(-uffd));
	if (err || closed) {
		close(uffd);
		return reason_set(why, -EIO, "cannot close descriptor %ld in the task again", remote_fd);
	}

	if (ioctl(uffd, UFFDIO_API, &api) < 0) {
		err = -errno;
		close(uffd);
		return reason_set(why, err, "UFFDIO_API with asynchronous write-protection: %s", strerror(-err));
	}
	return uffd;
}

int uffd_register(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_register reg = { .range = { start, end - start }, .mode = UFFDIO_REGISTER_MODE_WP };

	return ioctl(uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

int uffd_unregister(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_range range = { start, end - start };

	return ioctl(uffd, UFFDIO_UNREGISTER, &range) < 0 ? -errno : 0;
}

int uffd_unprotect(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_writeprotect wp = { .range = { start, end - start } };

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) < 0 ? -errno : 0;
}
