/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * page_server.h - the page server that a command was told to send pages to.
 */
#ifndef PAGESCAN_CMD_PAGE_SERVER_H
#define PAGESCAN_CMD_PAGE_SERVER_H

#include "copy/server.h"

/* As the command line has it: --page-server, --address, --port. */
struct page_server {
	bool wanted;
	const char *address;
	const char *port;
};

/* Are all three options there, or none? If not it has complained. */
bool page_server_is_whole(const struct page_server *page_server);

/*
 * Connect for one round. A page server ends with its client, so that the next one may need up to @patience seconds until
 * it listens. Returns 0, and server_close() is due; -EINTR if live_stop has become true; or another negative errno. With
 * @why.
 */
int page_server_connect(const struct page_server *page_server, unsigned int patience, struct server *server,
			struct reason *why);

#endif
