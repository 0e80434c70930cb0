// SPDX-License-Identifier: GPL-2.0-only
/*
 * The client's calls against a keeper that answers anything: each ends with an error or with what it promises, and no
 * descriptor stays open. The answers wait in the socket before the question is asked.
 */
#include <sys/socket.h>

#include "fuzz.h"
#include "track/keeper.h"

static int fuzz_connect(int sock);
#define connect(sock, addr, len) fuzz_connect(sock)
#define keeper_dir_open(why)	 dup(fuzz_dir())
#include "track/keeper_client.c"

static struct input input;
static int peer = -1;

/* Two bits of the first byte say how many descriptors come along, the second byte how long the answer is. */
static int fuzz_connect(int sock)
{
	const uint8_t choice = take_byte(&input);
	const size_t nr = choice & 3, room = take_byte(&input);
	const int dir = fuzz_dir(), fds[3] = { dir, dir, dir };
	uint8_t packet[UINT8_MAX];
	/* A length of none stands for that of a message. */
	struct iovec iov = { packet, take(&input, packet, room ? room : sizeof(struct keeper_message)) };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(fds))];
	} control = { .align = { CMSG_LEN(nr * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int pair[2];

	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	MUST(dup2(pair[0], sock) == sock);
	close(pair[0]);
	if (peer >= 0)
		close(peer);
	peer = pair[1];
	if (nr) {
		memcpy(CMSG_DATA(&control.align), fds, nr * sizeof(int));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr * sizeof(int));
	}
	if (iov.iov_len)
		MUST(sendmsg(peer, &msg, MSG_NOSIGNAL) == (ssize_t)iov.iov_len);
	shutdown(peer, SHUT_WR); /* after its answer, or without one, the keeper ends */
	return 0;
}

static int visit(void *ctx, const struct keeper_entry *entry)
{
	int32_t *last = ctx;

	MUST(entry->id.pid > *last); /* so the list ends */
	*last = entry->id.pid;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const int dir = fuzz_dir(), fds = open_fds();
	struct identity id = { .pid = getpid() };
	struct reason why = { "" };
	struct epoch epoch = { 0 };
	int32_t last = 0;
	int err, uffd, dropped;

	input = (struct input){ data, size };
	switch (take_byte(&input) & 3) {
	case 0:
		err = keeper_get(&id, &epoch, &uffd, &why);
		MUST(err ? uffd == -1 : fcntl(uffd, F_GETFD) == FD_CLOEXEC);
		if (!err)
			close(uffd);
		break;
	case 1:
		err = keeper_put(&id, &epoch, dir, &why);
		break;
	case 2:
		err = keeper_drop(id.pid, &dropped, &why);
		MUST(err ? !dropped : dropped >= 0);
		break;
	default:
		err = keeper_list(visit, &last, &why);
	}
	MUST(err <= 0 && err >= -4095);
	MUST(!err || why.text[0]);
	if (peer >= 0)
		close(peer);
	peer = -1;
	MUST(open_fds() == fds);
	return 0;
}
