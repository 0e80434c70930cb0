/* SPDX-License-Identifier: GPL-2.0-only */
/* Tasks to keep, a runtime directory for their keeper, an unprivileged user to be: root's keeper is the real one. */
#ifndef KEEPING_H
#define KEEPING_H

#include <errno.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "processes.h"
#include "scan/uapi.h"
#include "track/uffd.h"

static char runtime[64];
static char *memory; /* one page, in every task at the same address */
static struct epoch epoch = { "fifteen letters", 5 };

/* A process with a userfaultfd on its page; @uffd is a descriptor of ours, as the task keeps none. */
struct task {
	struct identity id;
	int uffd;
};

static inline struct task start_task(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC };
	struct task task;
	int pair[2], pidfd, remote = -1;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = start_child();
	if (!pid) {
		memory[0] = 1;
		remote = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);
		(void)!write(pair[1], &remote, sizeof(remote));
		(void)!read(pair[1], &remote, 1);
		close(remote);
		(void)!write(pair[1], "", 1);
		pause();
	}
	assert_int_equal(read(pair[0], &remote, sizeof(remote)), sizeof(remote));
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	task.uffd = (int)syscall(SYS_pidfd_getfd, pidfd, remote, 0);
	assert_true(task.uffd >= 0);
	assert_int_equal(ioctl(task.uffd, UFFDIO_API, &api), 0);
	assert_int_equal(uffd_register(task.uffd, (uintptr_t)memory, (uintptr_t)memory + pagescan_page_size()), 0);
	assert_int_equal(write(pair[0], &remote, 1), 1);
	assert_int_equal(read(pair[0], &remote, 1), 1);
	task.id = identity_of(pid);
	close(pidfd);
	close(pair[0]);
	close(pair[1]);
	return task;
}

static inline void end_task(struct task *task)
{
	end_child(task->id.pid);
	if (task->uffd >= 0)
		close(task->uffd);
}

static inline int put(const struct task *task, uint64_t number)
{
	epoch.number = number;
	return keeper_put(&task->id, &epoch, task->uffd, NULL);
}

/* The epoch's number that the keeper has for the task, or a negative errno. */
static inline int64_t get(const struct identity *id)
{
	struct epoch got;
	int uffd, err = keeper_get(id, &got, &uffd, NULL);

	if (err) {
		assert_int_equal(uffd, -1);
		return err;
	}
	assert_memory_equal(got.tracker, epoch.tracker, TRACKER_ID_SIZE);
	close(uffd);
	return (int64_t)got.number;
}

static inline int connect_at(int dir)
{
	struct sockaddr_un addr;
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	keeper_address(dir, &addr);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
		close(sock);
		sock = -1;
	}
	return sock;
}

static inline int connect_keeper(void)
{
	int dir = keeper_dir_open(NULL), sock = connect_at(dir);

	close(dir);
	return sock;
}

/* Wait for the keeper to have just so many descriptors; it closes connections in its own time. */
static inline bool comes_to_fds(pid_t keeper, int fds)
{
	int same = 0;

	/* So many may be open in passing, while it still takes and ends connections. */
	for (int i = 0; i < NAPS && same < 3; i++) {
		same = count_fds(keeper) == fds ? same + 1 : 0;
		nap(5);
	}
	return same == 3;
}

static inline int set_up(void **state)
{
	(void)state;
	snprintf(runtime, sizeof(runtime), "/tmp/test_keeper.XXXXXX");
	return !mkdtemp(runtime) || setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static inline int tear_down(void **state)
{
	static const char *const left[] = { "pagescan/lock", "pagescan/keeper", "pagescan" };
	int dir = open(runtime, O_RDONLY | O_DIRECTORY);

	(void)state;
	for (int i = 0; i < 3; i++)
		unlinkat(dir, left[i], i == 2 ? AT_REMOVEDIR : 0);
	close(dir);
	return rmdir(runtime);
}

/* Root's keeper lies in /run, where there may be a real one. A change of uid makes /proc/self root's: it is undone. */
static inline int become_nobody(void **state)
{
	(void)state;
	memory = mmap(NULL, pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (geteuid())
		return 0;
	return setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY) ||
	       prctl(PR_SET_DUMPABLE, 1);
}

#define WITH_DIR(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
