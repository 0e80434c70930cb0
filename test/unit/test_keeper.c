// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keeper, as an unprivileged user with a runtime directory of its own: it holds userfaultfds and epochs for as long
 * as their tasks live, gives them to none but the right task, and cannot be upset by what is sent to it.
 */
#include "keeping.h"

static bool is_protected(const struct task *task)
{
	uint64_t pme;
	int dir = open_proc(task->id.pid), fd = openat(dir, "pagemap", O_RDONLY);

	assert_int_equal(pread(fd, &pme, 8, (off_t)((uintptr_t)memory / pagescan_page_size() * 8)), 8);
	close(fd);
	close(dir);
	return pme & PME_UFFD_WP;
}

/* When the userfaultfd's file goes, and somebody who looks at the keeper's /proc/PID/fdinfo keeps it for a moment. */
static bool comes_to_be_unprotected(const struct task *task)
{
	for (int i = 0; i < NAPS && is_protected(task); i++)
		nap(5);
	return !is_protected(task);
}

static void it_gives_back_what_it_was_given(void **state)
{
	pid_t keeper = start_keeper(0);
	struct task task = start_task(), other = start_task();
	struct identity wrong = task.id;
	struct epoch got;
	int uffd;

	(void)state;
	assert_int_equal(get(&task.id), -ENOENT);
	assert_int_equal(put(&task, 7), 0);
	assert_int_equal(get(&task.id), 7);
	assert_int_equal(get(&other.id), -ENOENT);
	wrong.start_time++;
	assert_int_equal(get(&wrong), -ENOENT);
	wrong = task.id;
	wrong.stack++;
	assert_int_equal(get(&wrong), -ENOENT);

	/* It is the task's userfaultfd: its page can be let go by it, and another's cannot tell. */
	assert_int_equal(keeper_get(&task.id, &got, &uffd, NULL), 0);
	assert_int_equal(uffd_unregister(uffd, (uintptr_t)memory, (uintptr_t)memory + pagescan_page_size()), 0);
	assert_int_equal(fcntl(uffd, F_GETFD), FD_CLOEXEC);
	close(uffd);
	end_task(&task);
	end_task(&other);
	end_child(keeper);
}

/* What it is for: the kernel forgets a task's protection when the last descriptor closes. */
static void protection_lasts_until_it_lets_go(void **state)
{
	const struct pagescan_query there = { .required = PAGESCAN_PRESENT };
	pid_t keeper = start_keeper(0);
	struct task task = start_task();
	int dir = open_proc(task.id.pid), fd = openat(dir, "pagemap", O_RDONLY), dropped;

	(void)state;
	assert_int_equal(
		pagescan_protect(fd, (uintptr_t)memory, (uintptr_t)memory + pagescan_page_size(), &there, NULL), 0);
	assert_int_equal(put(&task, 1), 0);
	assert_int_equal(put(&task, 2), 0);
	close(task.uffd);
	task.uffd = -1;
	assert_true(is_protected(&task));
	assert_int_equal(keeper_drop(task.id.pid, &dropped, NULL), 0);
	assert_int_equal(dropped, 1);
	assert_true(comes_to_be_unprotected(&task));
	close(fd);
	close(dir);
	end_task(&task);
	end_child(keeper);
}

static void an_epoch_never_goes_back(void **state)
{
	pid_t keeper = start_keeper(0);
	int fds = count_fds(keeper) + 2;
	struct task task = start_task();

	(void)state;
	assert_int_equal(put(&task, 5), 0);
	assert_int_equal(put(&task, 5), -ESTALE);
	assert_int_equal(put(&task, 4), -ESTALE);
	assert_int_equal(get(&task.id), 5);
	assert_int_equal(put(&task, 6), 0);
	assert_int_equal(get(&task.id), 6);
	epoch.tracker[0] ^= 1; /* tracking that began anew counts from the start */
	assert_int_equal(put(&task, 1), 0);
	assert_int_equal(get(&task.id), 1);
	epoch.tracker[0] ^= 1;
	assert_true(comes_to_fds(keeper, fds));
	end_task(&task);
	end_child(keeper);
}

static void the_end_of_a_task_is_noticed(void **state)
{
	pid_t keeper = start_keeper(0);
	int fds = count_fds(keeper) + 2;
	struct task first = start_task(), second = start_task();

	(void)state;
	assert_int_equal(put(&second, 1), 0);
	assert_int_equal(put(&first, 1), 0);
	end_task(&first);
	assert_true(comes_to_fds(keeper, fds));
	assert_int_equal(get(&first.id), -ENOENT);
	assert_int_equal(get(&second.id), 1);
	end_task(&second);
	end_child(keeper);
}

struct list {
	struct keeper_entry v[4];
	int nr, end;
};

static int visit(void *ctx, const struct keeper_entry *entry)
{
	struct list *list = ctx;

	list->v[list->nr++] = *entry;
	return list->nr == list->end ? 42 : 0;
}

static void tasks_are_listed_by_rising_pid_and_dropped(void **state)
{
	static const int order[] = { 1, 2, 0 };
	const time_t began = time(NULL);
	time_t put_by;
	pid_t keeper = start_keeper(0);
	struct task tasks[3] = { start_task(), start_task(), start_task() };
	struct list first = { .end = -1 }, list = first;
	int dropped, fds = count_fds(keeper);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(put(&tasks[order[i]], 10), 0);
	assert_int_equal(keeper_list(visit, &first, NULL), 0);
	put_by = time(NULL);
	nap(1100);
	assert_int_equal(put(&tasks[1], 11), 0); /* the next round, still the same tracking */
	assert_int_equal(keeper_list(visit, &list, NULL), 0);
	assert_int_equal(list.nr, 3);
	for (int i = 0; i < 3; i++) {
		const struct identity now = identity_of(list.v[i].id.pid);

		assert_true(identity_equal(&list.v[i].id, &now));
		assert_true(!i || list.v[i].id.pid > list.v[i - 1].id.pid);
		assert_in_range(list.v[i].since, began, put_by);
		assert_int_equal(list.v[i].since, first.v[i].since);
	}
	list = (struct list){ .end = 2 };
	assert_int_equal(keeper_list(visit, &list, NULL), 42);
	assert_int_equal(list.nr, 2);

	assert_int_equal(keeper_drop(1, &dropped, NULL), 0);
	assert_int_equal(dropped, 0);
	assert_int_equal(keeper_drop(tasks[1].id.pid, &dropped, NULL), 0);
	assert_int_equal(dropped, 1);
	assert_int_equal(get(&tasks[1].id), -ENOENT);
	assert_int_equal(get(&tasks[2].id), 10);
	assert_int_equal(keeper_drop(0, &dropped, NULL), 0);
	assert_int_equal(dropped, 2);
	assert_true(comes_to_fds(keeper, fds));
	for (int i = 0; i < 3; i++)
		end_task(&tasks[i]);
	end_child(keeper);
}

/* One packet with @nr descriptors of one file; false if the keeper ends the connection instead of answering. */
static bool is_answered(const void *data, size_t len, int fd, size_t nr, int32_t *status)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(8 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct keeper_message reply;
	int sock = connect_keeper();
	ssize_t got;

	if (nr) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		control.align = (struct cmsghdr){ CMSG_LEN(nr * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		for (size_t i = 0; i < nr; i++)
			memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd, sizeof(fd));
	}
	assert_true(sock >= 0 && sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0);
	assert_true(becomes_readable(sock));
	got = recv(sock, &reply, sizeof(reply), 0);
	close(sock);
	*status = reply.status;
	return got == sizeof(reply);
}

static void odd_messages_do_not_upset_it(void **state)
{
	pid_t keeper = start_keeper(0);
	struct task task = start_task();
	struct keeper_message good = { .version = KEEPER_VERSION, .op = KEEPER_PUT, .entry = { task.id, epoch, 0 } };
	struct keeper_message bad;
	char large[sizeof(good) + 8] = "";
	int fds = count_fds(keeper) + 2, file = open("/dev/null", O_RDONLY), sock;
	int32_t status;

	(void)state;
	assert_int_equal(put(&task, 3), 0);
	memcpy(large, &good, sizeof(good));
	for (size_t nr = 0; nr <= 8; nr += nr < 3 ? 1 : 5) {
		for (size_t len = 0; len < sizeof(good); len += 7)
			assert_false(is_answered(&good, len, file, nr, &status));
		assert_false(is_answered(large, sizeof(large), file, nr, &status));
		bad = good;
		bad.version++;
		assert_false(is_answered(&bad, sizeof(bad), file, nr, &status));
		bad = good;
		bad.op = 99;
		if (nr <= 2) /* more descriptors than a message can have */
			assert_true(is_answered(&bad, sizeof(bad), file, nr, &status) && status == -EINVAL);
		else
			assert_false(is_answered(&bad, sizeof(bad), file, nr, &status));
		bad = good;
		bad.op = KEEPER_GET; /* descriptors that nobody asked for */
		if (nr <= 2)
			assert_true(is_answered(&bad, sizeof(bad), file, nr, &status) && !status);
	}
	bad = good;
	bad.entry.epoch.number = 4;
	for (size_t nr = 0; nr <= 2; nr++) /* too few descriptors, or none of a process */
		assert_true(is_answered(&bad, sizeof(bad), file, nr, &status) && status < 0);
	for (int i = 0; i < 20; i++) {
		sock = connect_keeper();
		(void)!write(sock, &good, i);
		close(sock); /* without waiting for the answer */
	}
	assert_true(comes_to_fds(keeper, fds));
	assert_int_equal(get(&task.id), 3);
	close(file);
	end_task(&task);
	end_child(keeper);
}

/*
 * Whoever reads /proc/PID/fdinfo has each file of the process open for a moment (here: for long). If the keeper ends a
 * connection just then, the connection lives on, and nothing that happens to it may concern the keeper any more.
 */
static void connections_that_others_have_open_end(void **state)
{
	enum { HELD = 32 };
	pid_t keeper = start_keeper(0);
	int pidfd = (int)syscall(SYS_pidfd_open, keeper, 0), fds = count_fds(keeper), sock = connect_keeper(),
	    held[HELD];
	const struct identity id = identity_of(getpid());

	(void)state;
	assert_true(comes_to_fds(keeper, fds + 1));
	for (int i = 0; i < HELD; i++)
		held[i] = (int)syscall(SYS_pidfd_getfd, pidfd, i, 0);
	assert_int_equal(write(sock, "", 1), 1); /* no message: the keeper hangs up */
	assert_true(comes_to_fds(keeper, fds));
	close(sock);
	for (int i = 0; i < 20; i++)
		assert_int_equal(get(&id), -ENOENT);
	for (int i = 0; i < HELD; i++) {
		if (held[i] >= 0)
			close(held[i]);
	}
	assert_true(comes_to_fds(keeper, fds));
	assert_int_equal(kill(keeper, SIGTERM), 0);
	assert_int_equal(await_end(keeper), -SIGTERM);
	close(pidfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(it_gives_back_what_it_was_given),
		WITH_DIR(protection_lasts_until_it_lets_go),
		WITH_DIR(an_epoch_never_goes_back),
		WITH_DIR(the_end_of_a_task_is_noticed),
		WITH_DIR(tasks_are_listed_by_rising_pid_and_dropped),
		WITH_DIR(odd_messages_do_not_upset_it),
		WITH_DIR(connections_that_others_have_open_end),
	};

	return cmocka_run_group_tests(tests, become_nobody, NULL);
}
