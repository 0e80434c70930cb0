// SPDX-License-Identifier: GPL-2.0-only
/* A test's life: into the background, ready, SIGTERM. */
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib.h"
#include "zdtmtst.h"

static char *outfile;
TEST_OPTION(outfile, string, "what the test says", true)

static char *pidfile;
TEST_OPTION(pidfile, string, "written when the test is ready", true)

/* A futex, so that any number of threads can wait; private, so that a forked child gets its own SIGTERM. */
static int sigterm;
static int ready_fd;

/* Waiting for a notification is the first thread's: a signal that came to another one would not end its read(). */
static void on_sigterm(int signo)
{
	if (syscall(SYS_gettid) != getpid()) {
		syscall(SYS_tgkill, getpid(), getpid(), signo);
		return;
	}
	__atomic_store_n(&sigterm, signo, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &sigterm, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	notify_end();
}

static void write_pidfile(pid_t pid)
{
	char tmp[PATH_MAX];
	FILE *f;

	ssprintf(tmp, "%s.tmp", pidfile);
	f = fopen(tmp, "we");
	if (!f || fprintf(f, "%d", pid) < 0 || fclose(f) || rename(tmp, pidfile)) {
		pr_perror("pidfile %s", pidfile);
		exit(1);
	}
}

/* The process that was started: leaves when the test is ready, or as the test left. */
static void wait_ready(pid_t pid, int fd)
{
	int status;
	char byte;

	if (read(fd, &byte, 1) == 1) {
		write_pidfile(pid);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		_exit(pr_perror("wait for the test"));
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	_exit(pr_err("ended before it was ready, status %#x\n", status));
}

void test_init(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_sigterm, .sa_flags = SA_RESTART };
	int ready[2], null;
	pid_t pid;

	test_options_parse(argc, argv);
	notify_init();
	msg_init(outfile);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || close(null) || pipe(ready))
		exit(pr_perror("stdin, pipe"));

	pid = fork();
	if (pid < 0)
		exit(pr_perror("fork"));
	if (pid) {
		close(ready[1]);
		wait_ready(pid, ready[0]);
	}
	close(ready[0]);
	ready_fd = ready[1];
	if (setsid() < 0 || sigaction(SIGTERM, &sa, NULL))
		exit(pr_perror("setsid, sigaction"));
}

void test_daemon(void)
{
	if (write(ready_fd, "", 1) != 1)
		exit(pr_perror("tell that the test is ready"));
	close(ready_fd);
}

int test_go(void)
{
	return !__atomic_load_n(&sigterm, __ATOMIC_SEQ_CST);
}

void test_waitsig(void)
{
	while (test_go())
		syscall(SYS_futex, &sigterm, FUTEX_WAIT, 0, NULL, NULL, 0);
}

int test_fork_id(int id)
{
	(void)id;
	return fork();
}
