// SPDX-License-Identifier: GPL-2.0-only
/*
 * service.c - look at the request before criu does. Calls libprotobuf-c, the kernel.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "criu.pb-c.h"
#include "service.h"

#define RESTORE 2 /* images/rpc.proto, criu_req_type */

static ssize_t peek(int sock, void *buffer, size_t size, int flags)
{
	ssize_t len;

	do
		len = recv(sock, buffer, size, MSG_PEEK | flags);
	while (len < 0 && errno == EINTR);
	return len;
}

bool service_restores(int argc, char **argv)
{
	const bool serves = argc == 3 && !strcmp(argv[1], "swrk"); /* criu/crtools.c */
	const int sock = serves ? atoi(argv[2]) : -1;
	const ssize_t len = serves ? peek(sock, NULL, 0, MSG_TRUNC) : -1;
	uint8_t *packet = len > 0 ? malloc((size_t)len) : NULL;
	Criu__Request *request = NULL;
	bool restores = !serves;

	if (packet && peek(sock, packet, (size_t)len, 0) == len)
		request = criu__request__unpack(NULL, (size_t)len, packet);
	if (request) {
		restores = request->type == RESTORE;
		criu__request__free_unpacked(request, NULL);
	}
	free(packet);
	return restores;
}
