// SPDX-License-Identifier: GPL-2.0-only
/*
 * keeper_wire.c - the keeper's socket: where it is, and how messages with descriptors go over it. Calls the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "keeper.h"

int keeper_dir_open(struct reason *why)
{
	const char *base = geteuid() ? getenv("XDG_RUNTIME_DIR") : "/run";
	struct stat st;
	int parent, dir;

	if (!base)
		return reason_set(why, -ENOENT, "XDG_RUNTIME_DIR is not set: no place for the keeper's socket");
	parent = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return reason_set(why, -errno, "cannot open %s: %s", base, strerror(errno));

	if (mkdirat(parent, "pagescan", 0700) < 0 && errno != EEXIST) {
		dir = reason_set(why, -errno, "cannot make %s/pagescan: %s", base, strerror(errno));
	} else {
		dir = openat(parent, "pagescan", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			dir = reason_set(why, -errno, "cannot open %s/pagescan: %s", base, strerror(errno));
	}
	close(parent);
	if (dir < 0)
		return dir;

	if (fstat(dir, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 0077)) {
		close(dir);
		return reason_set(why, -EPERM, "%s/pagescan must belong to uid %u with mode 0700", base, geteuid());
	}
	return dir;
}

void keeper_address(int dir, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/keeper", dir);
}

int keeper_send(int sock, const struct keeper_message *message, const int *fds, size_t nr_fds)
{
	struct keeper_message copy = *message;
	struct iovec iov = { &copy, sizeof(copy) };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	copy.version = KEEPER_VERSION;
	if (nr_fds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nr_fds * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int keeper_receive(int sock, struct keeper_message *message, int fds[2], size_t *nr_fds)
{
	struct iovec iov = { message, sizeof(*message) };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)
	};
	ssize_t got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);

	*nr_fds = 0;
	if (got < 0)
		return -errno;

	/* Descriptors come with an empty packet, too, which looks like the end of the connection. */
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
			*nr_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(cmsg), *nr_fds * sizeof(int));
		}
	}
	if (got == sizeof(*message) && message->version == KEEPER_VERSION &&
	    !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;

	while (*nr_fds)
		close(fds[--*nr_fds]);
	return got ? -EPROTO : -EPIPE;
}
