// SPDX-License-Identifier: GPL-2.0-only
/*
 * uffd.c - make a userfaultfd in a frozen task and work on its areas. Calls the kernel, the task through remote,
 * descriptors, and keeper_wire for a place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptors.h"
#include "keeper.h"
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

/*
 * While a userfaultfd is made, a file beside the keeper's socket says in which task: arming.PID, with its start time.
 * It is still there only if the maker was killed meanwhile or could not close the descriptor again, which may then be
 * left in the task, where it would keep CRIU from dumping it.
 */
struct note {
	int dir;
	char name[32];
};

static int note_open(struct note *note, int pid, struct reason *why)
{
	note->dir = keeper_dir_open(why);
	snprintf(note->name, sizeof(note->name), "arming.%d", pid);
	return note->dir < 0 ? note->dir : 0;
}

/* 1, 0 or a negative errno. */
static int note_is_about(const struct note *note, const struct identity *id)
{
	char text[32];
	ssize_t len;
	int fd = openat(note->dir, note->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	if (len < 0)
		return (int)len;
	text[len] = '\0';
	return strtoull(text, NULL, 10) == id->start_time;
}

static void note_write(const struct note *note, const struct identity *id)
{
	int fd = openat(note->dir, note->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return;
	dprintf(fd, "%llu\n", (unsigned long long)id->start_time);
	close(fd);
}

static void note_close(struct note *note, bool keep)
{
	if (!keep)
		unlinkat(note->dir, note->name, 0);
	close(note->dir);
}

struct leftovers {
	int pid;
	const struct remote *remote;
};

/*
 * An unused userfaultfd has no features: UFFDIO_API has not been called (fs/userfaultfd.c, userfaultfd_show_fdinfo).
 * Returns 0 or a negative errno.
 */
static int close_if_unused(void *ctx, const char *fd, const char *link)
{
	const struct leftovers *task = ctx;
	char api[64];
	long closed;
	int err;

	if (strcmp(link, "anon_inode:[userfaultfd]"))
		return 0;
	err = descriptors_info(task->pid, fd, "API", api, sizeof(api));
	if (err || strncmp(api, "aa:0:", 5))
		return err;
	err = run(task->remote, SYS_close, strtoul(fd, NULL, 10), &closed);
	return err ? err : (int)closed;
}

static int close_leftovers(int pid, const struct remote *remote)
{
	struct leftovers task = { pid, remote };

	return descriptors_each(pid, close_if_unused, &task);
}

static int create(int pid, const struct remote *remote, bool *left, struct reason *why)
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
	*left = err || closed;
	if (uffd < 0)
		return reason_set(why, uffd, "pidfd_getfd of descriptor %ld: %s", remote_fd, strerror(-uffd));
	if (*left) {
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

int uffd_create(const struct identity *id, const struct remote *remote, struct reason *why)
{
	bool left = false;
	struct note note;
	int uffd, err = note_open(&note, id->pid, why);

	if (err)
		return err;
	err = note_is_about(&note, id);
	if (err > 0)
		err = close_leftovers(id->pid, remote);
	if (err) {
		/* Tracked now, the task would not come here again, and CRIU could never dump it. */
		left = true;
		uffd = reason_set(why, err, "cannot close what a killed run may have left in the task: %s",
				  strerror(-err));
	} else {
		note_write(&note, id);
		uffd = create(id->pid, remote, &left, why);
	}
	note_close(&note, left);
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
