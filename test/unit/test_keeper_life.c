// SPDX-License-Identifier: GPL-2.0-only
/* When a keeper begins and ends, where it lives, and that there is one. */
#include <sys/resource.h>

#include "keeping.h"

static void it_ends_when_there_is_nothing_to_keep(void **state)
{
	pid_t keeper = start_keeper(0);
	struct task task = start_task();
	int status, dir;
	struct stat st;

	(void)state;
	assert_int_equal(put(&task, 1), 0);
	nap(2500);
	assert_int_equal(get(&task.id), 1);
	assert_int_equal(waitpid(keeper, &status, WNOHANG), 0);
	end_task(&task);
	assert_int_equal(await_end(keeper), 0);
	dir = keeper_dir_open(NULL);
	assert_int_equal(fstatat(dir, "keeper", &st, 0), -1);
	close(dir);
	assert_int_equal(get(&task.id), -ENOENT);
}

static void there_is_one_at_a_time(void **state)
{
	pid_t keeper = start_keeper(0), second;
	struct task task = start_task();

	(void)state;
	assert_int_equal(put(&task, 1), 0);
	second = start_keeper(0);
	assert_int_equal(await_end(second), 0);
	assert_int_equal(get(&task.id), 1);
	end_child(keeper);
	assert_int_equal(get(&task.id), -ENOENT); /* its socket is still there */
	keeper = start_keeper(0);
	assert_int_equal(put(&task, 1), 0);
	assert_int_equal(get(&task.id), 1);
	end_task(&task);
	end_child(keeper);
}

static void its_directory_is_ours_alone(void **state)
{
	char path[96], target[96];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/pagescan", runtime);
	snprintf(target, sizeof(target), "%s/target", runtime);
	close(keeper_dir_open(NULL));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	for (mode_t bit = 1; bit <= 040; bit <<= 1) {
		assert_int_equal(chmod(path, 0700 | bit), 0);
		assert_int_equal(keeper_dir_open(NULL), -EPERM);
	}
	assert_int_equal(rename(path, target) | chmod(target, 0700), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_true(keeper_dir_open(NULL) < 0);
	assert_int_equal(unlink(path) | rmdir(target), 0);
	close(creat(path, 0600));
	assert_int_equal(keeper_dir_open(NULL), -ENOTDIR);
	unlink(path);
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(keeper_dir_open(NULL), -ENOENT);
}

/* Tasks that need no process each: the keeper looks at nothing but what it is told. Returns the reply's status. */
static int put_number(int32_t pid, int uffd, int pidfd)
{
	struct keeper_message message = { .op = KEEPER_PUT, .entry = { { pid, 1, 1 }, { "fifteen letters", 1 }, 0 } };
	int fds[2] = { uffd, pidfd }, sock = connect_keeper();
	size_t nr;

	assert_true(sock >= 0);
	assert_int_equal(keeper_send(sock, &message, fds, 2), 0);
	assert_int_equal(keeper_receive(sock, &message, fds, &nr), 0);
	close(sock);
	return message.status;
}

static long resident_kib(pid_t pid)
{
	char value[64];

	read_status(pid, "VmRSS", value);
	return strtol(value, NULL, 10);
}

/* As many as its limit of descriptors allows; what is too much is refused, and nothing else suffers. */
static void its_limit_is_refused_cleanly(void **state)
{
	const struct rlimit files = { 420, 420 };
	const int room = (420 - 300) / 2;
	struct task task;
	struct reason why;
	struct epoch got;
	int pidfd, uffd, busy[300];
	pid_t keeper = start_child();

	(void)state;
	if (!keeper) {
		setrlimit(RLIMIT_NOFILE, &files);
		end_confined(keeper_serve(-1, NULL) ? 1 : 0);
	}
	for (int i = 0; i < NAPS && connect_keeper() < 0; i++)
		nap(5);
	task = start_task();
	pidfd = (int)syscall(SYS_pidfd_open, task.id.pid, 0);
	assert_int_equal(put(&task, 1), 0);
	for (int i = 1; i < room; i++)
		assert_int_equal(put_number(1000000 + i, task.uffd, pidfd), 0);
	assert_int_equal(put_number(2000000, task.uffd, pidfd), -EMFILE);
	assert_int_equal(put(&task, 2), 0); /* it has this one already */
	/* Connections that stay are no reason to fail either, nor to spin. */
	for (int i = 0; i < 300; i++)
		busy[i] = connect_keeper();
	nap(50);
	for (int i = 0; i < 300; i++)
		close(busy[i]);
	assert_int_equal(keeper_get(&task.id, &got, &uffd, &why), 0);
	close(uffd);
	task.id.start_time++; /* a second incarnation takes the place of the first */
	assert_int_equal(put(&task, 1), -ESTALE);
	task.id.pid = getpid();
	assert_int_equal(keeper_put(&task.id, &(struct epoch){ { 1 }, 1 }, task.uffd, &why), -EMFILE);
	assert_non_null(strstr(why.text, "limit of open files"));
	assert_int_equal(keeper_drop(1000001, &uffd, NULL), 0);
	assert_int_equal(put_number(2000000, task.uffd, pidfd), 0);
	close(pidfd);
	end_child(keeper);
}

/* Sanitizers give memory back with system calls that a confined process does not have; a thousand do not make them. */
#ifdef __SANITIZE_ADDRESS__
#define MANY 1000
#else
#define MANY 10000
#endif

/* Ten thousand tasks, or as many as this machine's limit allows. */
static void it_keeps_ten_thousand(void **state)
{
	pid_t keeper = start_keeper(0);
	const long before = resident_kib(keeper);
	struct task task = start_task();
	int pidfd = (int)syscall(SYS_pidfd_open, task.id.pid, 0);
	int32_t nr = 0;

	(void)state;
	assert_int_equal(put(&task, 1), 0);
	while (nr < MANY - 1 && !put_number(1000000 + nr, task.uffd, pidfd))
		nr++;
	print_message("# %d tasks in %ld KiB\n", nr + 1, resident_kib(keeper) - before);
	assert_int_equal(get(&task.id), 1);
	assert_int_equal(count_fds(keeper) > 2 * nr, 1);
	close(pidfd);
	end_task(&task); /* all of them end with it, as they share its pidfd */
	assert_int_equal(await_end(keeper), 0);
}

static volatile sig_atomic_t children_ended;

static void child_ended(int signo)
{
	(void)signo;
	children_ended++;
}

/* As CRIU does it: no keeper yet, and nobody may notice a child. */
static void putting_starts_one_that_is_no_child(void **state)
{
	struct task task = start_task();
	struct reason why = { "" };
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int inherited = open("/dev/null", O_RDONLY), dir, dropped, sock;
	struct sigaction old, action = { .sa_handler = child_ended };
	sigset_t term, mask;
	char value[64];

	(void)state;
	sigaction(SIGCHLD, &action, &old);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &mask);
	children_ended = 0;
	if (keeper_put(&task.id, &epoch, task.uffd, &why))
		fail_msg("%s", why.text);
	assert_int_equal(get(&task.id), epoch.number);
	assert_int_equal(children_ended, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), 0); /* the task alone, alive */
	sigaction(SIGCHLD, &old, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);

	sock = connect_keeper();
	assert_int_equal(getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
	assert_int_not_equal(getsid(peer.pid), getsid(0));
	read_status(peer.pid, "SigBlk", value);
	assert_string_equal(value, "0000000000000000");
	/* Standard descriptors, lock, directory, socket, epoll, this connection, and two of the task. */
	assert_true(comes_to_fds(peer.pid, 10));
	close(sock);
	close(inherited);
	dir = open_proc(peer.pid);
	assert_int_equal(keeper_drop(0, &dropped, NULL), 0);
	for (int i = 0; i < NAPS && !faccessat(dir, "stat", F_OK, 0); i++)
		nap(5);
	assert_int_not_equal(faccessat(dir, "stat", F_OK, 0), 0);
	close(dir);
	end_task(&task);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(it_ends_when_there_is_nothing_to_keep),
		WITH_DIR(there_is_one_at_a_time),
		WITH_DIR(its_directory_is_ours_alone),
		WITH_DIR(its_limit_is_refused_cleanly),
		WITH_DIR(it_keeps_ten_thousand),
		WITH_DIR(putting_starts_one_that_is_no_child),
	};

	return cmocka_run_group_tests(tests, become_nobody, NULL);
}
