/* SPDX-License-Identifier: GPL-2.0-only */
/* What the targets share: an invariant that ends the run, the input taken apart, files for it, and open descriptors. */
#ifndef FUZZ_H
#define FUZZ_H

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold; libFuzzer keeps the input that made it false. */
#define MUST(what)                                                                         \
	do {                                                                               \
		if (!(what)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                           \
		}                                                                          \
	} while (0)

/* What is left of the input. */
struct input {
	const uint8_t *at;
	size_t len;
};

static inline size_t take(struct input *input, void *to, size_t len)
{
	if (len > input->len)
		len = input->len;
	memcpy(to, input->at, len);
	input->at += len;
	input->len -= len;
	return len;
}

/* One byte, 0 where the input is at its end. */
static inline uint8_t take_byte(struct input *input)
{
	uint8_t byte = 0;

	take(input, &byte, 1);
	return byte;
}

/* The directory that the runner made for this program, where it was started. */
static inline int fuzz_dir(void)
{
	static int dir = -1;

	if (dir < 0)
		dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(dir >= 0);
	return dir;
}

/* Make @name in that directory say just this. */
static inline void fuzz_file(const char *name, const void *data, size_t len)
{
	int fd = openat(fuzz_dir(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	close(fd);
}

/* How many of the low descriptors are open: one system call, unlike a look into /proc. */
static inline int open_fds(void)
{
	struct pollfd fds[128];
	int nr = 0;

	for (int i = 0; i < 128; i++)
		fds[i] = (struct pollfd){ .fd = i };
	poll(fds, 128, 0);
	for (int i = 0; i < 128; i++)
		nr += !(fds[i].revents & POLLNVAL);
	return nr;
}

#endif
