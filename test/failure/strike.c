// SPDX-License-Identifier: GPL-2.0-only
/*
 * strike.c - let a failure happen at an exact point of a criu run: preloaded into it (LD_PRELOAD), it watches libc
 * calls and fails, or stops the process, at the one that the test has chosen. Works with and without the plugin.
 *
 * STRIKE="CALL|TEXT|N|WHAT": at the N-th call of CALL whose subject contains TEXT, do WHAT: "stop" raises SIGSTOP
 * before the call, so that the test can look around, kill or go on; a number fails the call with that errno. The
 * subject is the bytes of a write (a line of criu's log), "r", "w" or "rw" and the path of openat, the new path of
 * renameat; of an ioctl the kind, "read" and "protect" for PAGEMAP_SCAN, "register"; of sendmsg the peer's path and the
 * message's second word (the operation, if it is a keeper's); of syscall() and ptrace the number and a full stop; of
 * splice its name; of pwrite the file.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGEMAP_SCAN 0xc0606610
#define WP_MATCHING  1

static bool struck(const char *call, const void *subject, size_t size)
{
	static char text[256], wanted[32], what[16];
	static int left = -1;
	const char *strike = getenv("STRIKE");

	if (left < 0 && (!strike || sscanf(strike, "%31[^|]|%255[^|]|%d|%15s", wanted, text, &left, what) != 4))
		left = 0;
	if (!left || strcmp(call, wanted) || !memmem(subject, size, text, strlen(text)) || --left)
		return false;
	if (!strcmp(what, "stop")) {
		raise(SIGSTOP);
		return false;
	}
	errno = atoi(what);
	return true;
}

static bool struck_text(const char *call, const char *subject)
{
	return struck(call, subject, strlen(subject));
}

/* The definition that ours hides. */
#define next(function) ((typeof(&(function)))(uintptr_t)dlsym(RTLD_NEXT, #function))

ssize_t write(int fd, const void *buf, size_t size)
{
	return struck("write", buf, size) ? -1 : next(write)(fd, buf, size);
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset)
{
	char path[64], file[256] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, file, sizeof(file) - 1) < 0)
		file[0] = '\0';
	return struck_text("pwrite", file) ? -1 : next(pwrite)(fd, buf, size, offset);
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned int flags)
{
	return struck_text("splice", "splice") ? -1 : next(splice)(in, in_at, out, out_at, size, flags);
}

ssize_t sendmsg(int sock, const struct msghdr *msg, int flags)
{
	struct sockaddr_un peer = { 0 };
	socklen_t size = sizeof(peer) - 1;
	char subject[sizeof(peer) + 16];
	uint32_t message[2] = { 0 };

	getpeername(sock, (struct sockaddr *)&peer, &size);
	if (msg->msg_iov->iov_len >= sizeof(message))
		memcpy(message, msg->msg_iov->iov_base, sizeof(message));
	snprintf(subject, sizeof(subject), "%s %u", peer.sun_path, message[1]);
	return struck_text("sendmsg", subject) ? -1 : next(sendmsg)(sock, msg, flags);
}

long ptrace(int request, ...)
{
	char subject[16];
	va_list args;
	long arg[3];

	va_start(args, request);
	for (size_t i = 0; i < 3; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	snprintf(subject, sizeof(subject), "%d.", request);
	return struck_text("ptrace", subject) ? -1 : next(ptrace)(request, arg[0], arg[1], arg[2]);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return struck_text("renameat", to) ? -1 : next(renameat)(from_dir, from, to_dir, to);
}

int openat(int dir, const char *path, int flags, ...)
{
	static const char *const how[] = { [O_RDONLY] = "r", [O_WRONLY] = "w", [O_RDWR] = "rw", [O_ACCMODE] = "" };
	char subject[PATH_MAX];
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		mode = va_arg(args, mode_t);
	va_end(args);
	snprintf(subject, sizeof(subject), "%s %s", how[flags & O_ACCMODE], path);
	return struck_text("openat", subject) ? -1 : next(openat)(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));

static const char *kind(unsigned long request, const uint64_t *arg)
{
	switch (request) {
	case PAGEMAP_SCAN: /* arg: size, flags, ... */
		return arg[1] & WP_MATCHING ? "protect" : "read";
	case UFFDIO_REGISTER:
		return "register";
	default:
		return "";
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	return struck_text("ioctl", kind(request, arg)) ? -1 : next(ioctl)(fd, request, arg);
}

long syscall(long nr, ...)
{
	char subject[16];
	long arg[6];
	va_list args;

	va_start(args, nr);
	for (size_t i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	snprintf(subject, sizeof(subject), "%ld.", nr);
	return struck_text("syscall", subject) ? -1 : next(syscall)(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
