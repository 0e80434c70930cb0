// SPDX-License-Identifier: GPL-2.0-only
/*
 * page_server.c - find out what the page server speaks, and connect to it. Calls server, find.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmd.h"
#include "live.h"
#include "page_server.h"

/* So often a second it is tried again. */
#define TRIES 20

bool page_server_is_whole(const struct page_server *page_server)
{
	if (page_server->wanted ? page_server->address && page_server->port :
				  !page_server->address && !page_server->port)
		return true;
	complain("--page-server, --address and --port go together");
	return false;
}

/*
 * CRIU's page servers and those who send to them are expected to be of one version: the criu found here tells what the
 * server speaks. Returns 1 for 4.2 or later, 0, or a negative errno with @why.
 */
static int is_wide(struct reason *why)
{
	char *criu = find_criu(), version[64];
	int major, minor, known;

	known = criu && criu_version(criu, version, sizeof(version)) &&
		sscanf(version, "Version: %d.%d", &major, &minor) == 2;
	free(criu);
	if (!known)
		return reason_set(why, -ENOENT,
				  "there is no criu here, whose version would tell how the page server talks; install "
				  "it, or set PAGESCAN_CRIU");
	return major > 4 || (major == 4 && minor >= 2);
}

int page_server_connect(const struct page_server *page_server, unsigned int patience, struct server *server,
			struct reason *why)
{
	const struct timespec pause = { .tv_nsec = 1000000000 / TRIES };
	int wide = is_wide(why), err;

	/* Who interrupts us interrupts the criu that is asked, too. */
	if (wide < 0)
		return live_stop ? reason_set(why, -EINTR, "interrupted") : wide;
	for (unsigned int tries = patience * TRIES;; tries--) {
		err = server_connect(server, page_server->address, page_server->port, wide, why);
		if (err != -ECONNREFUSED || !tries)
			return err;
		nanosleep(&pause, NULL);
		if (live_stop)
			return reason_set(why, -EINTR, "interrupted");
	}
}
