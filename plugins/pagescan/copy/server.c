// SPDX-License-Identifier: GPL-2.0-only
/*
 * server.c - CRIU's page-server protocol (criu/page-xfer.c), the side that sends. Calls the kernel, getaddrinfo(3).
 *
 * A head says what comes: "task", or so many pages at an address, which are in the server's parent images or follow.
 * Only a task's begin and the end of all are answered.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server.h"
#include "track/live.h"

/* A server that takes or says nothing for so long is not there any more. */
#define PATIENCE_S 30

/* As CRIU has them in memory, which is what it sends: up to 4.1, and since 4.2. Nothing tells the two apart. */
union head {
	struct {
		uint32_t command;
		uint32_t pages;
		uint64_t address;
		uint64_t task;
	} narrow;
	struct {
		uint32_t command;
		uint64_t pages;
		uint64_t address;
		uint64_t task;
	} wide;
};

enum { PS_OPEN2 = 4, PS_ADD_F = 6, PS_CLOSE = 0x1023 };

/* Flags of an entry (criu/include/pagemap.h) stand above the command. */
#define PE_PARENT  (1u << 16)
#define PE_PRESENT (4u << 16)

/* A pid's memory, not shared memory's. */
#define TASK_OF(pid) ((uint64_t)(pid) << 8 | 1)

/* Runs that go out by one call: a head and, mostly, pages each. */
#define BATCH 256

static struct server *server_of(struct sink *sink)
{
	return (struct server *)sink;
}

static int failed(struct reason *why, int err)
{
	if (err == -EAGAIN)
		return reason_set(why, -ETIMEDOUT, "the page server takes and says nothing for %d s", PATIENCE_S);
	return reason_set(why, err, "the connection to the page server: %s; its own log may say more", strerror(-err));
}

static struct iovec make_head(const struct server *server, union head *head, uint32_t command, uint64_t address,
			      uint64_t pages)
{
	memset(head, 0, sizeof(*head));
	if (server->wide) {
		head->wide.command = command;
		head->wide.pages = pages;
		head->wide.address = address;
		head->wide.task = TASK_OF(server->pid);
		return (struct iovec){ &head->wide, sizeof(head->wide) };
	}
	head->narrow.command = command;
	head->narrow.pages = (uint32_t)pages;
	head->narrow.address = address;
	head->narrow.task = TASK_OF(server->pid);
	return (struct iovec){ &head->narrow, sizeof(head->narrow) };
}

static int send_all(struct server *server, struct iovec *vec, size_t nr, struct reason *why)
{
	while (nr) {
		const struct msghdr message = { .msg_iov = vec, .msg_iovlen = nr };
		ssize_t done = sendmsg(server->sock, &message, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return failed(why, -errno);
		while (nr && (size_t)done >= vec->iov_len) {
			done -= (ssize_t)vec->iov_len;
			vec++;
			nr--;
		}
		if (nr) {
			vec->iov_base = (char *)vec->iov_base + done;
			vec->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static int receive(struct server *server, void *answer, size_t size, struct reason *why)
{
	ssize_t got;

	do
		got = recv(server->sock, answer, size, MSG_WAITALL);
	while (got < 0 && errno == EINTR);
	if (got == (ssize_t)size)
		return 0;
	return failed(why, got < 0 ? -errno : -ECONNRESET);
}

static int server_begin(struct sink *sink, int pid, struct reason *why)
{
	struct server *server = server_of(sink);
	union head head;
	struct iovec vec;
	char has_parent = 0;
	int err;

	server->pid = pid;
	vec = make_head(server, &head, PS_OPEN2, 0, 0);
	err = send_all(server, &vec, 1, why);
	if (!err)
		err = receive(server, &has_parent, sizeof(has_parent), why);
	server->has_parent = has_parent;
	return err;
}

static int server_take(struct sink *sink, struct chunk *chunk, struct reason *why)
{
	struct server *server = server_of(sink);
	struct iovec vec[2 * BATCH];
	union head heads[BATCH];
	unsigned char *pages = chunk->buffer;
	size_t nr_vec = 0, nr = 0;
	int err = 0;

	for (size_t i = 0; !err && i < chunk->nr; i++) {
		const struct pagescan_region *run = &chunk->runs[i];
		const bool copy = run->categories == LIVE_COPY;
		const uint64_t size = run->end - run->start;

		/* It would write an entry for pages that are nowhere. */
		if (!copy && !server->has_parent)
			return reason_set(why, -ENOENT,
					  "the page server has no parent images of %d: start it with --prev-images-dir",
					  server->pid);
		vec[nr_vec++] = make_head(server, &heads[nr++], PS_ADD_F | (copy ? PE_PRESENT : PE_PARENT), run->start,
					  size / pagescan_page_size());
		if (copy) {
			vec[nr_vec++] = (struct iovec){ pages, size };
			pages += size;
		}
		if (nr == BATCH || i + 1 == chunk->nr) {
			err = send_all(server, vec, nr_vec, why);
			nr = nr_vec = 0;
		}
	}
	return err;
}

static int server_end(struct sink *sink, struct reason *why)
{
	(void)sink;
	(void)why;
	return 0;
}

/* What the server has of it stays there; no record makes it anybody's parent. */
static void server_abandon(struct sink *sink)
{
	(void)sink;
}

static int server_finish(struct sink *sink, struct reason *why)
{
	struct server *server = server_of(sink);
	union head head;
	struct iovec vec = make_head(server, &head, PS_CLOSE, 0, 0);
	int32_t status;
	int err = send_all(server, &vec, 1, why);

	if (!err)
		err = receive(server, &status, sizeof(status), why);
	if (!err && status)
		err = reason_set(why, -EPROTO, "the page server could not write the images: see its log");
	return err;
}

static int connect_to(const struct addrinfo *address)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	const int yes = 1;
	int sock = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return -errno;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if (connect(sock, address->ai_addr, address->ai_addrlen) < 0) {
		int err = -errno;

		close(sock);
		return err;
	}
	return sock;
}

int server_connect(struct server *server, const char *address, const char *port, bool wide, struct reason *why)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	int err = getaddrinfo(address, port, &hints, &list);

	*server = (struct server){
		.sink = { server_begin, server_take, NULL, server_end, server_abandon, server_finish },
		.sock = -1,
		.wide = wide,
	};
	if (err)
		return reason_set(why, -EADDRNOTAVAIL, "the page server's address %s, port %s: %s", address, port,
				  gai_strerror(err));
	for (const struct addrinfo *at = list; at && server->sock < 0; at = at->ai_next)
		server->sock = connect_to(at);
	freeaddrinfo(list);
	if (server->sock < 0)
		return reason_set(why, server->sock, "cannot connect to the page server at %s, port %s: %s", address,
				  port, strerror(-server->sock));
	return 0;
}

int server_for_criu(struct server *server)
{
	const struct timeval forever = { 0 };

	setsockopt(server->sock, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	setsockopt(server->sock, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever));
	return server->sock;
}

void server_close(struct server *server)
{
	close(server->sock);
	server->sock = -1;
}
