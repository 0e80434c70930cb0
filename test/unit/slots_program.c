// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program that rebinds its own imports, linked in several ways (Makefile) and run by test_slots.c: its own calls
 * arrive, nobody else's do, and its memory is protected as before. Exit code 0, or the line of what was not so.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bind/slots.h"

#define MUST(what)                       \
	do {                             \
		if (!(what))             \
			return __LINE__; \
	} while (0)

pid_t neighbour_getppid(void);

static pid_t our_getppid(void)
{
	return 1000001;
}

static pid_t our_getpgrp(void)
{
	return 1000002;
}

static pid_t our_getsid(pid_t pid)
{
	return pid + 1000003;
}

/* An address that is taken has a slot of another kind. */
static __attribute__((noinline)) pid_t getsid_by_pointer(pid_t pid)
{
	pid_t (*volatile pointer)(pid_t) = getsid;

	return pointer(pid);
}

/* What is mapped, and how it is protected. */
static size_t read_maps(char *text, size_t size)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t len = 0;
	ssize_t got;

	while ((got = read(fd, text + len, size - len)) > 0)
		len += (size_t)got;
	close(fd);
	return len;
}

int main(void)
{
	static char before[1 << 16], after[1 << 16];
	struct slot slots[] = {
		{ .name = "getppi", .alias = "", .function = our_getpgrp },
		{ .name = "getppid", .function = our_getppid },
		{ .name = "getpgrp64", .alias = "getpgrp", .function = our_getpgrp },
		{ .name = "getsid", .function = our_getsid },
		{ .name = "getpgid", .function = our_getsid }, /* not imported */
	};
	const pid_t parent = getppid(), session = getsid_by_pointer(0);
	const size_t nr = sizeof(slots) / sizeof(*slots);
	struct elf elf;
	size_t len;

	slots_main_program(&elf);
	MUST(!slots_find(&elf, slots, nr));
	MUST(!slots[0].found && slots[1].found && slots[2].found && slots[3].found && !slots[4].found);
	MUST(getppid() == parent && getsid_by_pointer(0) == session);

	/* Of the two below, one has been called and so is resolved under lazy binding, too; the other has not. */
	len = read_maps(before, sizeof(before));
	MUST(!slots_bind(&elf, slots, nr));
	MUST(len && read_maps(after, sizeof(after)) == len && !memcmp(before, after, len));
	MUST(getppid() == 1000001);
	MUST(getpgrp() == 1000002);
	MUST(getsid_by_pointer(5) == 1000008);
	MUST(neighbour_getppid() == parent);
	return 0;
}
