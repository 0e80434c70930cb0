// SPDX-License-Identifier: GPL-2.0-only
/*
 * wire.c - frames. Calls tls, the kernel.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <pagescan.h>

#include "wire.h"

/* So long an end that is gone may take to have said why: less than one that lives takes to say so. */
#define LAST_WORD_MS 3000

struct head {
	uint32_t type;
	uint32_t zero;
	uint64_t len;
};

int wire_init(struct wire *wire, int in, int out, int patience)
{
	*wire = (struct wire){ .in = in, .out = out, .patience = patience, .buffer = malloc(WIRE_MAX + 1) };
	return wire->buffer ? 0 : -ENOMEM;
}

void wire_fini(struct wire *wire)
{
	free(wire->buffer);
	*wire = (struct wire){ .in = -1, .out = -1 };
}

static int broken(const struct wire *wire, struct reason *why, int err)
{
	const char *name = wire->tls ? "a connection for pages (--tcp)" : "the connection";

	if (err == -EPIPE || err == -ECONNRESET)
		return reason_set(why, -ECONNRESET, "%s has ended", name);
	if (err == -ETIMEDOUT)
		return reason_set(why, err, "nothing comes or goes over %s any more", name);
	return reason_set(why, err, "%s: %s", name, strerror(-err));
}

int wire_wait(int fd, short events, int patience)
{
	struct pollfd poll_fd = { fd, events, 0 };
	int nr;

	do
		nr = poll(&poll_fd, 1, patience);
	while (nr < 0 && errno == EINTR);
	return nr > 0 ? 0 : nr < 0 ? -errno : -ETIMEDOUT;
}

/* As much as can be, of the first part at least something. Returns bytes or a negative errno. */
static ssize_t send_some(const struct wire *wire, const struct iovec *vec, int nr)
{
	ssize_t done;

	if (wire->tls)
		return tls_send(wire->tls, vec->iov_base, vec->iov_len);
	done = writev(wire->out, vec, nr);
	return done < 0 ? -errno : done;
}

int wire_send(const struct wire *wire, enum wire_type type, const void *head, size_t head_len, const void *data,
	      size_t data_len, struct reason *why)
{
	struct head first = { htole32(type), 0, htole64(head_len + data_len) };
	struct iovec all[3] = { { &first, sizeof(first) }, { (void *)head, head_len }, { (void *)data, data_len } };
	struct iovec *vec = all;
	int nr = 3;

	while (nr) {
		ssize_t done = send_some(wire, vec, nr);

		if (done == -EAGAIN) {
			int err = wire_wait(wire->out, POLLOUT, wire->patience);

			if (err)
				return broken(wire, why, err);
			continue;
		}
		if (done == -EINTR)
			continue;
		if (done < 0)
			return broken(wire, why, (int)done);
		for (; nr && (size_t)done >= vec->iov_len; vec++, nr--)
			done -= (ssize_t)vec->iov_len;
		if (nr) {
			vec->iov_base = (char *)vec->iov_base + done;
			vec->iov_len -= (size_t)done;
		}
	}
	return 0;
}

int wire_last_word(struct wire *wire, int err, struct reason *why)
{
	const int patience = wire->patience;
	struct reason ignored;
	int type = 1;

	if (err != -ECONNRESET)
		return err;
	wire->patience = LAST_WORD_MS;
	while (type > 0 && type != WIRE_FAILED)
		type = wire_receive(wire, &ignored);
	wire->patience = patience;
	return type == WIRE_FAILED ? reason_set(why, -EREMOTEIO, "%.200s", (const char *)wire->buffer) : err;
}

int wire_say(const struct wire *wire, enum wire_type type, const char *text, struct reason *why)
{
	return wire_send(wire, type, NULL, 0, text, strlen(text), why);
}

/* What is there, waiting for it. Returns bytes, 0 at the end, or a negative errno. TLS may have read it already. */
static ssize_t receive_some(const struct wire *wire, void *buffer, size_t len)
{
	ssize_t got = wire->tls ? tls_receive(wire->tls, buffer, len) : -EAGAIN;
	int err;

	if (got != -EAGAIN)
		return got;
	err = wire_wait(wire->in, POLLIN, wire->patience);
	if (err || wire->tls)
		return err ? err : -EAGAIN;
	got = read(wire->in, buffer, len);
	return got < 0 ? -errno : got;
}

static int read_all(const struct wire *wire, void *buffer, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t got = receive_some(wire, (char *)buffer + have, len - have);

		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got <= 0)
			return got ? (int)got : -ECONNRESET;
		have += (size_t)got;
	}
	return 0;
}

int wire_receive(struct wire *wire, struct reason *why)
{
	struct head head = { 0 };
	int err = read_all(wire, &head, sizeof(head));

	wire->len = 0;
	if (err)
		return broken(wire, why, err);
	if (head.zero || le64toh(head.len) > WIRE_MAX || !head.type || le32toh(head.type) > WIRE_SAME)
		return reason_set(why, -EPROTO, "the other end says what is not understood");
	err = read_all(wire, wire->buffer, le64toh(head.len));
	if (err)
		return broken(wire, why, err);
	wire->len = le64toh(head.len);
	wire->buffer[wire->len] = '\0';
	return (int)le32toh(head.type);
}

int wire_hello(struct wire *wire, struct reason *why)
{
	struct wire_hello mine = { htole32(WIRE_VERSION), htole32((uint32_t)pagescan_page_size()), "" }, theirs;
	struct utsname name;
	int type;

	uname(&name);
	snprintf(mine.arch, sizeof(mine.arch), "%.*s", (int)sizeof(mine.arch) - 1, name.machine);
	type = wire_send(wire, WIRE_HELLO, NULL, 0, &mine, sizeof(mine), why);
	if (!type)
		type = wire_receive(wire, why);
	if (type < 0)
		return type;
	if (type != WIRE_HELLO || wire->len != sizeof(theirs))
		return reason_set(why, -EPROTO, "the other end is no pagescan");
	memcpy(&theirs, wire->buffer, sizeof(theirs));
	if (theirs.version != mine.version)
		return reason_set(why, -EPROTO, "the other end speaks version %u of the protocol, this one %d",
				  le32toh(theirs.version), WIRE_VERSION);
	if (theirs.page_size != mine.page_size || memcmp(theirs.arch, mine.arch, sizeof(mine.arch)) != 0)
		return reason_set(why, -EPROTO,
				  "the other machine is %.23s with pages of %u bytes, this one %s with %zu",
				  theirs.arch, le32toh(theirs.page_size), mine.arch, pagescan_page_size());
	return 0;
}

uint64_t wire_number(const struct wire *wire, size_t at, size_t size)
{
	uint64_t number = 0;

	if (at > wire->len || size > wire->len - at)
		return 0;
	memcpy(&number, wire->buffer + at, size);
	return le64toh(number);
}
