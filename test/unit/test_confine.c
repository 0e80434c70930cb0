// SPDX-License-Identifier: GPL-2.0-only
/* The keeper's two walls: it can do no more than it has to, and answers nobody but its user. Only root can see them. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>

#include "keeping.h"
#include "track/confine.h"

static bool refused(long result)
{
	return result == -1 && errno == EPERM;
}

static void a_confined_process_can_do_little(void **state)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	char value[64], byte;
	int pair[2];
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = start_child();
	if (!pid) {
		char *const none[] = { NULL };
		struct iovec iov = { &byte, 1 };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

		if (confine(NULL) || write(pair[1], "", 1) != 1 || recvmsg(pair[1], &msg, 0) != 1)
			end_confined(1);
		if (!refused(open("/dev/null", O_RDONLY)) || !refused(socket(AF_INET, SOCK_STREAM, 0)) ||
		    !refused(execve("/bin/true", none, none)) || !refused(fork()) ||
		    !refused(ptrace(PTRACE_TRACEME, 0, 0, 0)) || !refused(kill(getppid(), 0)) || !refused(setuid(0)) ||
		    !refused(syscall(SYS_userfaultfd, 0)))
			end_confined(2);
		end_confined(0);
	}
	assert_true(becomes_readable(pair[0]));
	assert_int_equal(read(pair[0], &byte, 1), 1);
	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		read_status(pid, sets[i], value);
		if (strcmp(value, "0000000000000000") != 0)
			fail_msg("%s is %s", sets[i], value);
	}
	read_status(pid, "NoNewPrivs", value);
	assert_string_equal(value, "1");
	read_status(pid, "Seccomp", value);
	assert_string_equal(value, "2");
	assert_int_equal(write(pair[0], "", 1), 1);
	assert_int_equal(await_end(pid), 0);
	close(pair[0]);
	close(pair[1]);
}

/* True if the keeper in the directory answers this process. */
static bool answers(int dir)
{
	struct keeper_message message = { .op = KEEPER_NEXT };
	int sock = connect_at(dir), none[2];
	size_t nr;

	return sock >= 0 && !keeper_send(sock, &message, NULL, 0) && becomes_readable(sock) &&
	       !keeper_receive(sock, &message, none, &nr);
}

/* The directory keeps others out, but not root. */
static void it_answers_its_own_user_only(void **state)
{
	char value[64];
	pid_t keeper, friend;
	int base, dir;

	(void)state;
	assert_int_equal(chown(runtime, NOBODY, NOBODY), 0);
	keeper = start_keeper(NOBODY);
	base = open(runtime, O_RDONLY | O_DIRECTORY);
	dir = openat(base, "pagescan", O_RDONLY | O_DIRECTORY);
	friend = start_child();
	if (!friend)
		_exit(become_nobody(NULL) || !answers(dir));
	assert_int_equal(await_end(friend), 0);
	assert_false(answers(dir));
	read_status(keeper, "Seccomp", value);
	assert_string_equal(value, "2");
	close(dir);
	close(base);
	end_child(keeper);
}

/* Root's lies in /run, where nobody else may have been first. */
static void the_directory_is_not_anothers(void **state)
{
	pid_t pid = start_child();

	(void)state;
	if (!pid) {
		struct reason why;

		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "/run", "tmpfs", 0, NULL))
			_exit(0); /* not in this container */
		if (mkdir("/run/pagescan", 0700) || chown("/run/pagescan", NOBODY, NOBODY))
			_exit(1);
		if (keeper_dir_open(&why) != -EPERM || chown("/run/pagescan", 0, 0))
			_exit(2);
		_exit(keeper_dir_open(&why) < 0);
	}
	assert_int_equal(await_end(pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_confined_process_can_do_little),
		WITH_DIR(it_answers_its_own_user_only),
		cmocka_unit_test(the_directory_is_not_anothers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
