// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keeper against a client that sends packets of any content with any descriptors, hangs up, and puts tasks that
 * end: each answer is what a plain list of the tasks put says, GET's descriptor is the one that was put, and none
 * leaks.
 */
#include "fuzz.h"
#include "track/keeper_server.c"

/* Descriptors to send: two that epoll cannot watch, and two that it can, which become readable at a task's end. */
enum { FIRST_FILE, SECOND_FILE, FIRST_TASK, SECOND_TASK, NR_FILES };

static int files[NR_FILES], ends[NR_FILES];

/* So few that the limit is often met. */
#define TASKS_MAX 4

/* What the keeper should know, by the plainest means. */
static struct known {
	struct keeper_entry entry;
	int uffd, pidfd; /* indexes of files */
} known[TASKS_MAX];
static size_t nr_known;

static struct keeper keeper;

static void pump(void)
{
	struct epoll_event event;

	while (epoll_wait(keeper.epoll, &event, 1, 0) == 1)
		handle(&keeper, event.data.ptr);
}

static int client_new(void)
{
	struct sockaddr_un addr;
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	keeper_address(fuzz_dir(), &addr);
	MUST(sock >= 0 && !connect(sock, (struct sockaddr *)&addr, sizeof(addr)));
	pump();
	MUST(keeper.clients == 1);
	return sock;
}

/*
 * A socket that is closed hangs up when nobody has its file any more, and who reads /proc/PID/fd or fdinfo just now has
 * it for a moment (fs/proc/fd.c). So a hang-up is waited for; one that never comes is told by -timeout.
 */
static void client_end(int sock)
{
	struct epoll_event event;

	close(sock);
	while (keeper.clients) {
		if (epoll_wait(keeper.epoll, &event, 1, -1) == 1)
			handle(&keeper, event.data.ptr);
	}
}

/* An answer is there, or the keeper has hung up, which is waited for likewise. */
static void await_reply(int sock)
{
	struct pollfd reply = { .fd = sock, .events = POLLIN };

	while (poll(&reply, 1, -1) != 1)
		;
}

static struct known *known_find(int32_t pid)
{
	for (size_t i = 0; i < nr_known; i++) {
		if (known[i].entry.id.pid == pid)
			return &known[i];
	}
	return NULL;
}

/* Order does not matter. */
static void known_forget(struct known *task)
{
	*task = known[--nr_known];
}

static int expect_put(const struct keeper_entry *entry, const uint8_t *sent, size_t nr_sent)
{
	struct known *old = known_find(entry->id.pid);

	if (nr_sent != 2)
		return -EINVAL;
	if (old && !memcmp(old->entry.epoch.tracker, entry->epoch.tracker, TRACKER_ID_SIZE) &&
	    entry->epoch.number <= old->entry.epoch.number)
		return -ESTALE;
	if (!old && nr_known == TASKS_MAX)
		return -EMFILE;
	if (sent[1] < FIRST_TASK)
		return -EPERM;
	if (old)
		known_forget(old);
	known[nr_known++] = (struct known){ *entry, sent[0], sent[1] };
	return 0;
}

static int expect_drop(int32_t pid)
{
	int dropped = 0;

	for (size_t i = 0; i < nr_known;) {
		if (!pid || known[i].entry.id.pid == pid) {
			known_forget(&known[i]);
			dropped++;
		} else {
			i++;
		}
	}
	return dropped;
}

static const struct known *expect_next(int32_t pid)
{
	const struct known *next = NULL;

	for (size_t i = 0; i < nr_known; i++) {
		if (known[i].entry.id.pid > pid && (!next || known[i].entry.id.pid < next->entry.id.pid))
			next = &known[i];
	}
	return next;
}

static bool same_entry(const struct keeper_entry *a, const struct keeper_entry *b)
{
	return identity_equal(&a->id, &b->id) && !memcmp(&a->epoch, &b->epoch, sizeof(a->epoch));
}

static bool same_file(int a, int b)
{
	struct stat one, other;

	MUST(!fstat(a, &one) && !fstat(b, &other));
	return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static void check_reply(const struct keeper_message *request, const uint8_t *sent, size_t nr_sent,
			const struct keeper_message *reply, const int *fds, size_t nr_fds)
{
	const struct known *task;

	MUST(nr_fds == (request->op == KEEPER_GET && !reply->status));
	switch (request->op) {
	case KEEPER_GET:
		task = known_find(request->entry.id.pid);
		if (task && !identity_equal(&task->entry.id, &request->entry.id))
			task = NULL;
		MUST(reply->status == (task ? 0 : -ENOENT));
		MUST(!task || (same_entry(&reply->entry, &task->entry) && same_file(fds[0], files[task->uffd])));
		break;
	case KEEPER_PUT:
		MUST(reply->status == expect_put(&request->entry, sent, nr_sent));
		break;
	case KEEPER_DROP:
		MUST(reply->status == expect_drop(request->entry.id.pid));
		break;
	case KEEPER_NEXT:
		task = expect_next(request->entry.id.pid);
		MUST(reply->status == (task ? 0 : -ENOENT));
		MUST(!task || same_entry(&reply->entry, &task->entry));
		break;
	default:
		MUST(reply->status == -EINVAL);
	}
}

/* @choice: two bits say how many descriptors come along, two for each say which. */
static size_t send_packet(int sock, void *data, size_t len, uint8_t choice, uint8_t sent[3])
{
	const size_t nr = choice & 3;
	struct iovec iov = { data, len };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(3 * sizeof(int))];
	} control = { .align = { CMSG_LEN(nr * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (size_t i = 0; i < nr; i++) {
		sent[i] = choice >> (2 + 2 * i) & 3;
		memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &files[sent[i]], sizeof(int));
	}
	if (nr) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr * sizeof(int));
	}
	MUST(sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)len);
	return nr;
}

/* One packet and what comes back. Returns the client's socket: a new one where the keeper has hung up, as it should. */
static int exchange(int sock, struct input *input)
{
	const size_t room = take_byte(input);
	const uint8_t choice = take_byte(input);
	struct keeper_message request, reply;
	uint8_t packet[UINT8_MAX], sent[3];
	/* A length of none stands for that of a message. */
	const size_t len = take(input, packet, room ? room : sizeof(request));
	size_t nr_sent = send_packet(sock, packet, len, choice, sent), nr_fds;
	int fds[2], err;

	pump();
	await_reply(sock);
	err = keeper_receive(sock, &reply, fds, &nr_fds);
	memcpy(&request, packet, sizeof(request));
	if (len != sizeof(request) || request.version != KEEPER_VERSION || nr_sent > 2) {
		MUST(err == -EPIPE && !keeper.clients);
		close(sock);
		return client_new();
	}
	MUST(!err);
	check_reply(&request, sent, nr_sent, &reply, fds, nr_fds);
	while (nr_fds)
		close(fds[--nr_fds]);
	return sock;
}

/* As a pidfd does at the end of its task, the descriptor becomes readable: for every task put with it. */
static void end_tasks(int pidfd)
{
	char byte;

	MUST(write(ends[pidfd], "", 1) == 1);
	pump();
	MUST(read(files[pidfd], &byte, 1) == 1);
	for (size_t i = 0; i < nr_known;) {
		if (known[i].pidfd == pidfd)
			known_forget(&known[i]);
		else
			i++;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	keeper.uid = geteuid();
	keeper.tasks_max = TASKS_MAX;
	keeper.dir = fuzz_dir();
	MUST(!listen_at(&keeper, NULL));
	for (int i = 0; i < FIRST_TASK; i++)
		files[i] = open(i == FIRST_FILE ? "first" : "second", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (int i = FIRST_TASK; i < NR_FILES; i++) {
		int pair[2];

		MUST(!pipe2(pair, O_CLOEXEC));
		files[i] = pair[0];
		ends[i] = pair[1];
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	const int fds = open_fds();
	int sock = client_new();

	while (input.len) {
		const uint8_t step = take_byte(&input);

		if (step < 0xf0) {
			sock = exchange(sock, &input);
		} else if (step < 0xf8) {
			end_tasks(step & 1 ? FIRST_TASK : SECOND_TASK);
		} else {
			client_end(sock);
			sock = client_new();
		}
	}
	client_end(sock);
	MUST(op_drop(&keeper, 0) == (int)nr_known);
	nr_known = 0;
	MUST(!keeper.nr_tasks && !keeper.tasks && open_fds() == fds);
	return 0;
}
