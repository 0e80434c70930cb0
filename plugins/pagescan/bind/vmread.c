// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmread.c - bits of areas by the iterator, what they mean from areas made to learn it. Calls vma_iter, vmflags, the
 * kernel.
 *
 * The areas are those that this process has, and one of each kind that a program can ask for by mmap and madvise, but
 * those that need huge pages set aside, or that have the memory merged (KSM). A kind that could not be made is not known,
 * and a task that has it is read from its smaps.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmread.h"

/* include/uapi/asm-generic/mman-common.h, 6.11 */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

static int program = -1;
static struct vmflags known;

static const struct kind {
	int map;
	int advice;
} kinds[] = {
	{ MAP_PRIVATE, MADV_NORMAL },
	{ MAP_SHARED, MADV_NORMAL },
	{ MAP_DROPPABLE, MADV_NORMAL },
	{ MAP_PRIVATE | MAP_GROWSDOWN, MADV_NORMAL },
	{ MAP_PRIVATE | MAP_LOCKED, MADV_NORMAL },
	{ MAP_PRIVATE | MAP_NORESERVE, MADV_NORMAL },
	{ MAP_PRIVATE, MADV_SEQUENTIAL },
	{ MAP_PRIVATE, MADV_RANDOM },
	{ MAP_PRIVATE, MADV_DONTFORK },
	{ MAP_PRIVATE, MADV_DONTDUMP },
	{ MAP_PRIVATE, MADV_WIPEONFORK },
	{ MAP_PRIVATE, MADV_HUGEPAGE },
	{ MAP_PRIVATE, MADV_NOHUGEPAGE },
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* A tracked area is registered with a userfaultfd for write-protection: so is this one, while the descriptor is open. */
static int register_area(void *area, size_t size)
{
	struct uffdio_register reg = { .range = { (uintptr_t)area, size }, .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Learn from one area of this process's smaps. Both lists ascend: *at follows. */
static void learn(const struct vma_bits *v, int nr, int *at, uint64_t start, uint64_t end, const char *letters)
{
	while (*at < nr && v[*at].start < start)
		(*at)++;
	if (*at < nr && v[*at].start == start && v[*at].end == end)
		vmflags_learn(&known, v[*at].bits, letters);
}

static bool learn_from_all(FILE *smaps)
{
	static const char label[] = "VmFlags: ";
	uint64_t start = 0, end = 0;
	struct vma_bits *v;
	char line[4096];
	int nr = vma_iter_read(program, getpid(), &v), at = 0;

	while (nr > 0 && fgets(line, sizeof(line), smaps)) {
		if (!strncmp(line, label, strlen(label)))
			learn(v, nr, &at, start, end, line + strlen(label));
		else if (strchr("0123456789abcdef", *line) &&
			 sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) != 2)
			break;
	}
	free(v);
	return known.seen;
}

static bool learn_flags(void)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *areas[KINDS], *registered;
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool learned = false;
	int uffd;

	for (size_t i = 0; i < KINDS; i++) {
		areas[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, kinds[i].map | MAP_ANONYMOUS, -1, 0);
		if (areas[i] != MAP_FAILED && kinds[i].advice != MADV_NORMAL)
			(void)madvise(areas[i], size, kinds[i].advice);
	}
	registered = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uffd = registered == MAP_FAILED ? -1 : register_area(registered, size);
	if (smaps) {
		learned = learn_from_all(smaps);
		fclose(smaps);
	}
	if (uffd >= 0)
		close(uffd);
	if (registered != MAP_FAILED)
		munmap(registered, size);
	for (size_t i = 0; i < KINDS; i++) {
		if (areas[i] != MAP_FAILED)
			munmap(areas[i], size);
	}
	return learned;
}

int vmread_open(void)
{
	program = vma_iter_load();
	if (program < 0)
		return program;
	known = (struct vmflags){ 0 };
	if (learn_flags())
		return 0;
	vmread_close();
	return -EIO;
}

bool vmread_is_open(void)
{
	return program >= 0;
}

void vmread_close(void)
{
	if (program >= 0)
		close(program);
	program = -1;
}

int vmread_areas(int pid, struct vma_bits **v)
{
	return vma_iter_read(program, pid, v);
}

bool vmread_letters(uint64_t bits, char text[VMFLAGS_TEXT])
{
	return vmflags_tell(&known, bits, text);
}
