/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp.h - the source's connections for pages: pagescan migrate --tcp.
 */
#ifndef PAGESCAN_CMD_TCP_H
#define PAGESCAN_CMD_TCP_H

#include "move/wire.h"

/* @address: where the destination listens, NULL: at the host's; @port: 0 for any. @lanes: @nr connections. */
struct tcp {
	bool wanted;
	const char *address;
	uint32_t port;
	struct wire *lanes;
	unsigned int nr;
};

/* What --tcp was given, "[ADDRESS][:PORT]" or NULL; it is taken apart in place. Returns false after a complaint. */
bool tcp_option(struct tcp *tcp, char *argument);

/*
 * Make @nr connections to the destination at the other end of @wire, which is @host as ssh knows it. Nothing that goes over them
 * waits for longer than @wire does. Returns 0, or a negative errno with @why.
 */
int tcp_open(struct tcp *tcp, const char *host, unsigned int nr, struct wire *wire, struct reason *why);

void tcp_close(struct tcp *tcp);

#endif
