// SPDX-License-Identifier: GPL-2.0-only
/*
 * The client's side against a keeper that is not what it should be: frozen tasks wait while it is asked, so every call
 * ends soon, with an error that is told from "not tracked", and without a descriptor left open.
 */
#include "keeping.h"

enum behaviour {
	HANGS_UP,
	SAYS_NOTHING,
	ANSWERS_SHORT,
	OTHER_VERSION,
	NO_DESCRIPTOR,
	TWO_DESCRIPTORS,
	REFUSES,
	FORGETS
};

static void answer(int sock, enum behaviour behaviour)
{
	struct keeper_message message;
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[] = { 0, 0 };

	if (behaviour == HANGS_UP || recvmsg(sock, &msg, 0) <= 0)
		return;
	message.status = behaviour == REFUSES ? -ENOSPC : behaviour == FORGETS ? -ENOENT : 0;
	switch (behaviour) {
	case SAYS_NOTHING:
		nap(3000);
		break;
	case ANSWERS_SHORT:
		(void)!write(sock, &message, sizeof(message) - 1);
		break;
	case OTHER_VERSION:
		message.version++;
		(void)!write(sock, &message, sizeof(message));
		break;
	default:
		keeper_send(sock, &message, fds, behaviour == NO_DESCRIPTOR ? 0 : 2);
	}
}

static pid_t start_fake(enum behaviour behaviour)
{
	int dir = keeper_dir_open(NULL), sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;
	pid_t pid;

	keeper_address(dir, &addr);
	unlinkat(dir, "keeper", 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)) | listen(sock, 8), 0);
	pid = start_child();
	while (!pid) {
		int client = accept(sock, NULL, NULL);

		answer(client, behaviour);
		close(client);
	}
	close(sock);
	close(dir);
	return pid;
}

static void calls_end_well_whatever_the_keeper_does(void **state)
{
	/* What get and put return; to put, an answer without a descriptor is a good one. */
	static const int errors[][2] = {
		[SAYS_NOTHING] = { -EAGAIN, -EAGAIN },	[ANSWERS_SHORT] = { -EPROTO, -EPROTO },
		[OTHER_VERSION] = { -EPROTO, -EPROTO }, [NO_DESCRIPTOR] = { -EPROTO, 0 },
		[TWO_DESCRIPTORS] = { 0, 0 },		[REFUSES] = { -ENOSPC, -ENOSPC },
		[FORGETS] = { -ENOENT, -ENOENT },
	};
	const struct identity id = identity_of(getpid());
	const int fds = count_fds(getpid());

	(void)state;
	for (enum behaviour is = SAYS_NOTHING; is <= FORGETS; is++) {
		pid_t keeper = start_fake(is);
		struct reason why = { "" };
		int uffd, err = keeper_get(&id, &epoch, &uffd, &why);

		if (err != errors[is][0])
			fail_msg("%d: get says %d", is, err);
		assert_true(err ? uffd == -1 && why.text[0] : fcntl(uffd, F_GETFD) == FD_CLOEXEC);
		if (!err)
			close(uffd);
		err = keeper_put(&id, &epoch, 0, &why);
		if (err != errors[is][1])
			fail_msg("%d: put says %d", is, err);
		end_child(keeper);
		assert_int_equal(count_fds(getpid()), fds);
	}
}

/* It may end at the very moment it is asked, or lack memory for the connection: it is asked once more. */
static void a_keeper_that_hangs_up_is_asked_again(void **state)
{
	const struct identity id = identity_of(getpid());
	const int fds = count_fds(getpid());
	pid_t keeper = start_fake(HANGS_UP);
	struct reason why;
	int uffd, dropped = 99;

	(void)state;
	assert_int_equal(keeper_get(&id, &epoch, &uffd, &why), -ECONNRESET);
	assert_int_equal(keeper_drop(1, &dropped, &why), -ECONNRESET);
	assert_int_equal(dropped, 0);
	end_child(keeper);
	assert_int_equal(keeper_get(&id, &epoch, &uffd, &why), -ENOENT);
	assert_int_equal(count_fds(getpid()), fds);
}

static void a_task_that_is_gone_is_not_put(void **state)
{
	const int fds = count_fds(getpid());
	struct identity id = { .pid = start_child() };
	struct reason why = { "" };

	(void)state;
	if (!id.pid)
		pause();
	end_child(id.pid);
	assert_int_equal(keeper_put(&id, &epoch, 0, &why), -ESRCH);
	assert_true(why.text[0]);
	assert_int_equal(count_fds(getpid()), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(calls_end_well_whatever_the_keeper_does),
		WITH_DIR(a_keeper_that_hangs_up_is_asked_again),
		WITH_DIR(a_task_that_is_gone_is_not_put),
	};

	return cmocka_run_group_tests(tests, become_nobody, NULL);
}
