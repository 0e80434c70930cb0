// SPDX-License-Identifier: GPL-2.0-only
/*
 * written.c - preloaded into criu alone: a tracker of memory by which all pages are written, always. On a kernel
 * without soft-dirty criu makes pre-dumps with it, so that what fails with tracking can be tried without the plugin.
 */
#include <dlfcn.h>
#include <linux/types.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* include/uapi/linux/fs.h of Linux 6.7 */
struct scan {
	__u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct region {
	__u64 start, end, categories;
};
#define SCAN	   _IOWR('f', 16, struct scan)
#define SOFT_DIRTY (1 << 7)

#define PAGEMAP_SOFT_DIRTY (1ULL << 55) /* Documentation/admin-guide/mm/pagemap.rst */

static bool is_pagemap(int fd)
{
	char link[32], target[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target));
	return len > 8 && len < (ssize_t)sizeof(target) && !strncmp(target + len - 8, "/pagemap", 8);
}

static void call_written(int fd, void *data, ssize_t got)
{
	for (ssize_t i = 0; got >= 8 && is_pagemap(fd) && i < got / 8; i++)
		((uint64_t *)data)[i] |= PAGEMAP_SOFT_DIRTY;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
	ssize_t (*next)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
	ssize_t got = next(fd, data, size, offset);

	call_written(fd, data, got);
	return got;
}

ssize_t read(int fd, void *data, size_t size)
{
	ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
	ssize_t got = next(fd, data, size);

	call_written(fd, data, got);
	return got;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
	va_list arguments;
	void *argument;
	int got;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	got = next(fd, request, argument);
	if (request == SCAN) {
		struct region *regions = (struct region *)(uintptr_t)((struct scan *)argument)->vec;

		for (int i = 0; i < got; i++)
			regions[i].categories |= SOFT_DIRTY;
	}
	return got;
}
