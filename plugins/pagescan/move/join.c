// SPDX-License-Identifier: GPL-2.0-only
/*
 * join.c - listen, connect, and let nobody in without the key. Calls tls, wire, the kernel, getaddrinfo(3).
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "join.h"
#include "wire.h"

/* So long one connection may take to be there, or to prove its key; and nobody may come. */
#define JOIN_MS	  10000
#define NOBODY_MS 20000

/* Connections at a time that have not proved the key yet; the oldest makes room. */
#define CANDIDATES 64

/* What waits to be sent is no more than that: the kernel's buffers are not where pages pile up. */
#define UNSENT (128 << 10)

struct candidate {
	struct tls *tls;
	short events;
	int64_t until;
};

static int64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int join_resolve(const char *host, char address[NI_MAXHOST], struct reason *why)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	int err = getaddrinfo(host, NULL, &hints, &list);

	if (!err) {
		err = getnameinfo(list->ai_addr, list->ai_addrlen, address, NI_MAXHOST, NULL, 0, NI_NUMERICHOST);
		freeaddrinfo(list);
	}
	return err ? reason_set(why, -EADDRNOTAVAIL, "cannot find the address of %s (%s): --tcp=ADDRESS tells it", host,
				gai_strerror(err)) :
		     0;
}

/* A socket for the address, which is filled in. Returns it or a negative errno. */
static int open_socket(const char *address, uint32_t port, struct sockaddr_storage *to, socklen_t *len)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *list;
	char number[16];
	int sock;

	snprintf(number, sizeof(number), "%u", port);
	if (getaddrinfo(address, number, &hints, &list))
		return -EADDRNOTAVAIL;
	memcpy(to, list->ai_addr, list->ai_addrlen);
	*len = list->ai_addrlen;
	sock = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	freeaddrinfo(list);
	return sock < 0 ? -errno : sock;
}

static uint32_t port_of(const struct sockaddr_storage *address)
{
	return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port :
						      ((const struct sockaddr_in *)address)->sin_port);
}

int join_listen(const char *address, uint32_t *port, struct reason *why)
{
	struct sockaddr_storage at;
	socklen_t len;
	const int yes = 1;
	int sock = open_socket(address, *port, &at, &len), err = 0;

	if (sock < 0)
		err = sock;
	/* The last migration's connections may not be forgotten yet. */
	else if (setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
		 bind(sock, (struct sockaddr *)&at, len) < 0 || listen(sock, CANDIDATES) < 0 ||
		 getsockname(sock, (struct sockaddr *)&at, &len) < 0)
		err = -errno;
	if (err) {
		if (sock >= 0)
			close(sock);
		return reason_set(why, err, "the destination cannot listen at %.60s, port %u: %s%s", address, *port,
				  strerror(-err),
				  err == -EADDRNOTAVAIL ? "; --tcp=ADDRESS names an address that it has" : "");
	}
	*port = port_of(&at);
	return sock;
}

static void let_go(struct candidate *candidate)
{
	tls_close(candidate->tls);
	candidate->tls = NULL;
}

/* Somebody connects. Whatever fails is that one's bad luck. */
static void take_candidate(int listener, const unsigned char *key, struct candidate *candidates)
{
	struct candidate *place = candidates;
	int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct reason why;

	if (sock < 0)
		return;
	for (size_t i = 0; i < CANDIDATES && place->tls; i++) {
		if (!candidates[i].tls || candidates[i].until < place->until)
			place = &candidates[i];
	}
	if (place->tls)
		let_go(place);
	*place = (struct candidate){ tls_open(sock, true, key, &why), POLLIN, now_ms() + JOIN_MS };
	if (!place->tls)
		close(sock);
}

/* Returns the number of those that have proved the key. */
static unsigned int go_on(struct candidate *candidates, const struct pollfd *fds, struct tls *joined[],
			  unsigned int most)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < CANDIDATES && nr < most; i++) {
		struct candidate *candidate = &candidates[i];
		struct reason why;
		int err = -EAGAIN;

		if (!candidate->tls)
			continue;
		if (fds[i].revents)
			err = tls_handshake(candidate->tls, &candidate->events, &why);
		if (!err) {
			joined[nr++] = candidate->tls;
			candidate->tls = NULL;
		} else if (err != -EAGAIN || now_ms() > candidate->until) {
			let_go(candidate);
		}
	}
	return nr;
}

int join_accept(int listener, int control, const unsigned char key[TLS_KEY], struct tls *joined[], unsigned int nr,
		struct reason *why)
{
	struct candidate candidates[CANDIDATES] = { 0 };
	struct pollfd fds[CANDIDATES + 2];
	int64_t until = now_ms() + NOBODY_MS;
	unsigned int have = 0, more;
	int err = 0;

	while (!err && have < nr) {
		for (size_t i = 0; i < CANDIDATES; i++)
			fds[i] = (struct pollfd){ candidates[i].tls ? tls_sock(candidates[i].tls) : -1,
						  candidates[i].events, 0 };
		fds[CANDIDATES] = (struct pollfd){ listener, POLLIN, 0 };
		fds[CANDIDATES + 1] = (struct pollfd){ control, POLLIN, 0 };
		if (poll(fds, CANDIDATES + 2, 1000) < 0 && errno != EINTR)
			err = reason_set(why, -errno, "poll: %s", strerror(errno));
		else if (fds[CANDIDATES + 1].revents)
			err = reason_set(why, -ECONNRESET, "the source has given up");
		else if (now_ms() > until)
			err = reason_set(why, -ETIMEDOUT,
					 "%u of %u connections for pages have come to the destination, and no more do",
					 have, nr);
		if (err)
			break;
		more = go_on(candidates, fds, joined + have, nr - have);
		have += more;
		if (more)
			until = now_ms() + NOBODY_MS;
		if (fds[CANDIDATES].revents)
			take_candidate(listener, key, candidates);
	}
	for (size_t i = 0; i < CANDIDATES; i++) {
		if (candidates[i].tls)
			let_go(&candidates[i]);
	}
	while (err && have)
		tls_close(joined[--have]);
	return err;
}

/* Returns 0 or a negative errno. */
static int connect_to(int sock, const struct sockaddr_storage *to, socklen_t to_len)
{
	const int yes = 1, unsent = UNSENT;
	socklen_t len = sizeof(int);
	int err = 0;

	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(sock, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	if (!connect(sock, (const struct sockaddr *)to, to_len))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	err = wire_wait(sock, POLLOUT, JOIN_MS);
	if (!err && getsockopt(sock, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	return err > 0 ? -err : err;
}

struct tls *join_connect(const char *address, uint32_t port, const unsigned char key[TLS_KEY], struct reason *why)
{
	struct sockaddr_storage to;
	socklen_t len;
	int sock = open_socket(address, port, &to, &len), err = sock < 0 ? sock : connect_to(sock, &to, len);
	struct reason more = { "" };
	struct tls *tls = NULL;
	short events = POLLOUT;

	if (err) {
		if (sock >= 0)
			close(sock);
		reason_set(
			why, err,
			"cannot connect to %.60s, port %u: %s; if a firewall is between, let a port through and name "
			"it (--tcp=:PORT), or do without --tcp",
			address, port, strerror(-err));
		return NULL;
	}
	tls = tls_open(sock, false, key, &more);
	if (!tls)
		close(sock);
	while (tls && (err = tls_handshake(tls, &events, &more)) == -EAGAIN &&
	       !(err = wire_wait(tls_sock(tls), events, JOIN_MS)))
		;
	if (tls && err) {
		tls_close(tls);
		tls = NULL;
	}
	if (!tls)
		reason_set(why, err, "nobody at %.60s, port %u, has proved to be the destination: %s", address, port,
			   more.text[0] ? more.text : strerror(-err));
	return tls;
}
