// SPDX-License-Identifier: GPL-2.0-only
/*
 * tcp.c - make the source's connections for pages. Calls join, wire, peer, the kernel.
 *
 * Their key is of this migration alone, and goes to the destination over the connection that is there already: who made
 * that one, ssh for instance, vouches for both ends.
 */
#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cmd.h"
#include "move/join.h"
#include "peer.h"
#include "tcp.h"

/* Where brackets are around an address they go. */
static char *without_brackets(char *host)
{
	const size_t len = strlen(host);

	if (len < 2 || *host != '[' || host[len - 1] != ']')
		return host;
	host[len - 1] = '\0';
	return host + 1;
}

bool tcp_option(struct tcp *tcp, char *argument)
{
	char *colon = argument ? strrchr(argument, ':') : NULL;
	unsigned long port;

	tcp->wanted = true;
	if (!argument)
		return true;
	/* The colons of an IPv6 address stand in brackets. */
	if (colon && !strchr(colon, ']')) {
		if (parse_number("tcp", colon + 1, 1, UINT16_MAX, &port))
			return false;
		tcp->port = (uint32_t)port;
		*colon = '\0';
	}
	tcp->address = *argument ? without_brackets(argument) : NULL;
	return true;
}

/* Have the destination listen. Tells where, and the key. */
static int ask(const struct tcp *tcp, unsigned int nr, struct wire *wire, const char *address, struct wire_listen *want,
	       struct reason *why)
{
	int err;

	*want = (struct wire_listen){ .nr = htole32(nr), .port = htole32(tcp->port) };
	if (getrandom(want->key, sizeof(want->key), 0) != sizeof(want->key))
		return reason_set(why, -EIO, "there are no random bytes for a key");
	err = wire_send(wire, WIRE_LISTEN, want, sizeof(*want), address, strlen(address), why);
	if (!err)
		err = peer_hear(wire, WIRE_LISTENS, why);
	want->port = err ? 0 : htole32((uint32_t)wire_number(wire, 0, 4));
	return err;
}

static int join(struct tcp *tcp, const char *address, const struct wire_listen *want, int patience, struct reason *why)
{
	struct wire *lane = &tcp->lanes[tcp->nr];
	struct tls *tls = join_connect(address, le32toh(want->port), want->key, why);

	if (!tls)
		return -ENOTCONN;
	if (wire_init(lane, tls_sock(tls), tls_sock(tls), patience)) {
		tls_close(tls);
		return reason_set(why, -ENOMEM, "out of memory");
	}
	lane->tls = tls;
	tcp->nr++;
	return 0;
}

int tcp_open(struct tcp *tcp, const char *host, unsigned int nr, struct wire *wire, struct reason *why)
{
	const char *at = strrchr(host, '@');
	char name[NI_MAXHOST], address[NI_MAXHOST] = "";
	struct wire_listen want = { 0 };
	int err;

	snprintf(name, sizeof(name), "%s", tcp->address ? tcp->address : at ? at + 1 : host);
	err = join_resolve(without_brackets(name), address, why);
	if (err)
		return err;
	tcp->lanes = calloc(nr, sizeof(*tcp->lanes));
	if (!tcp->lanes)
		return reason_set(why, -ENOMEM, "out of memory");
	err = ask(tcp, nr, wire, address, &want, why);
	while (!err && tcp->nr < nr)
		err = join(tcp, address, &want, wire->patience, why);
	explicit_bzero(&want, sizeof(want));
	return err ? err : peer_hear(wire, WIRE_JOINED, why);
}

void tcp_close(struct tcp *tcp)
{
	while (tcp->nr) {
		struct wire *lane = &tcp->lanes[--tcp->nr];

		tls_close(lane->tls);
		wire_fini(lane);
	}
	free(tcp->lanes);
	tcp->lanes = NULL;
}
