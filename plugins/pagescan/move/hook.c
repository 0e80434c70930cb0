// SPDX-License-Identifier: GPL-2.0-only
/*
 * hook.c - the socket between criu's action scripts and whoever runs criu. Calls the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hook.h"

/* A path by descriptor, as a socket's address has room for 107 bytes. */
static struct sockaddr_un address(int dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/hook", dir);
	return addr;
}

int hook_listen(int dir, struct reason *why)
{
	const struct sockaddr_un addr = address(dir);
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len > 0)
		self[len] = '\0';
	if (len > 0 && sock >= 0 && !bind(sock, (const struct sockaddr *)&addr, sizeof(addr)) && !listen(sock, 8) &&
	    !symlinkat(self, dir, HOOK_PROGRAM))
		return sock;
	reason_set(why, 0, "cannot listen to criu: %s", strerror(errno));
	if (sock >= 0)
		close(sock);
	return -EIO;
}

int hook_accept(int listener, char stage[32])
{
	int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ssize_t len = sock >= 0 ? recv(sock, stage, 31, 0) : -1;

	if (len > 0) {
		stage[len] = '\0';
		return sock;
	}
	if (sock >= 0)
		close(sock);
	return -1;
}

int hook_connect(const char *dir, const char *stage)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int sock = fd >= 0 ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0) : -1;
	const struct sockaddr_un addr = address(fd);
	int err = 0;

	if (sock < 0 || connect(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    send(sock, stage, strlen(stage), MSG_NOSIGNAL) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err && sock >= 0)
		close(sock);
	return err ? err : sock;
}
