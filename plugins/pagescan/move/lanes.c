// SPDX-License-Identifier: GPL-2.0-only
/*
 * lanes.c - the destination's threads for pages. Calls join, receive, wire, the kernel.
 */
#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "copy/copy.h"
#include "join.h"
#include "lanes.h"

struct lane {
	struct lanes *lanes;
	struct wire wire;
	unsigned char *unpacked;
	pthread_t thread;
	bool started;
};

static void *work(void *arg)
{
	struct lane *lane = arg;
	struct receive *receive = lane->lanes->receive;
	struct reason why;
	int type, err = 0;

	do {
		type = wire_receive(&lane->wire, &why);
		err = type < 0 ? type : receive_pages(receive, &lane->wire, (enum wire_type)type, lane->unpacked, &why);
	} while (!err);
	receive_fail(receive, err, &why);
	eventfd_write(lane->lanes->event, 1);
	return NULL;
}

static int start(struct lane *lane, struct lanes *lanes, struct tls *tls)
{
	const int sock = tls_sock(tls);
	int err = wire_init(&lane->wire, sock, sock, -1);

	lane->lanes = lanes;
	lane->wire.tls = tls;
	lane->unpacked = malloc(WIRE_MAX);
	if (!err && !lane->unpacked)
		err = -ENOMEM;
	if (!err)
		err = -pthread_create(&lane->thread, NULL, work, lane);
	lane->started = !err;
	return err;
}

/* Listen, tell the port, and wait for them. */
static int join(const struct wire_listen *want, const char *address, const struct wire *wire, struct tls *joined[],
		struct reason *why)
{
	uint32_t port = le32toh(want->port);
	int listener = join_listen(address, &port, why), err;

	if (listener < 0)
		return listener;
	port = htole32(port);
	err = wire_send(wire, WIRE_LISTENS, NULL, 0, &port, sizeof(port), why);
	if (!err)
		err = join_accept(listener, wire->in, want->key, joined, le32toh(want->nr), why);
	close(listener);
	return err;
}

int lanes_open(struct lanes *lanes, struct receive *receive, struct wire *wire, struct reason *why)
{
	const char *address = (const char *)wire->buffer + sizeof(struct wire_listen);
	struct tls *joined[COPY_JOBS];
	struct wire_listen want;
	uint32_t nr;
	int err;

	if (wire->len <= sizeof(want) || wire->len >= sizeof(want) + NI_MAXHOST)
		return reason_set(why, -EPROTO, "the source says what makes no sense");
	memcpy(&want, wire->buffer, sizeof(want));
	nr = le32toh(want.nr);
	if (!nr || nr > COPY_JOBS || le32toh(want.port) > UINT16_MAX)
		return reason_set(why, -EPROTO, "the source says what makes no sense");
	err = join(&want, address, wire, joined, why);
	explicit_bzero(&want, sizeof(want));
	explicit_bzero(wire->buffer, sizeof(want));
	if (err)
		return err;

	*lanes = (struct lanes){ receive, calloc(nr, sizeof(*lanes->v)), 0, eventfd(0, EFD_CLOEXEC) };
	receive->threads = true;
	err = lanes->v && lanes->event >= 0 ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < nr; i++) {
		if (!err)
			err = start(&lanes->v[lanes->nr++], lanes, joined[i]);
		else
			tls_close(joined[i]);
	}
	if (!err)
		return wire_send(wire, WIRE_JOINED, NULL, 0, NULL, 0, why);
	lanes_close(lanes);
	return reason_set(why, err, "cannot start threads: %s", strerror(-err));
}

void lanes_close(struct lanes *lanes)
{
	struct reason over = { "over" };

	if (!lanes->v && lanes->event < 0)
		return;
	receive_fail(lanes->receive, -ECONNRESET, &over);
	for (unsigned int i = 0; lanes->v && i < lanes->nr; i++) {
		struct lane *lane = &lanes->v[i];

		/* A thread that waits for something to come ends by this. */
		shutdown(tls_sock(lane->wire.tls), SHUT_RDWR);
		if (lane->started)
			pthread_join(lane->thread, NULL);
		tls_close(lane->wire.tls);
		free(lane->unpacked);
		wire_fini(&lane->wire);
	}
	free(lanes->v);
	if (lanes->event >= 0)
		close(lanes->event);
	*lanes = (struct lanes){ .event = -1 };
}
