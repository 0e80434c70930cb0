/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server.h - a sink that sends pages to a stock `criu page-server`, which writes pagemap and pages images where it runs.
 */
#ifndef PAGESCAN_COPY_SERVER_H
#define PAGESCAN_COPY_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "sink.h"

/* The rest is of the task that is being sent. @has_parent: the server has images of it from the round before. */
struct server {
	struct sink sink;
	int sock;
	bool wide;
	int pid;
	bool has_parent;
};

/*
 * Connect to @port at @address, a name or an address of either kind. @wide: the server is of CRIU 4.2 or later, whose
 * messages are longer. Returns 0, and server_close() is due; or a negative
 * errno with @why.
 */
int server_connect(struct server *server, const char *address, const char *port, bool wide, struct reason *why);

/*
 * Let criu go on with the connection (criu --ps-socket), which waits as long as it likes. Returns the socket, which stays
 * the server's.
 */
int server_for_criu(struct server *server);

/* Hang up. A server that has not heard that all is done (the sink's finish) takes it for a failure. */
void server_close(struct server *server);

#endif
