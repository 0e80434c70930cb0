// SPDX-License-Identifier: GPL-2.0-only
/*
 * landing.c - the pool in `criu restore`. Calls land, slots, the kernel.
 *
 * Before main() the rounds are loaded. Then four libc calls of the criu executable are seen, by which it forks tasks,
 * maps their private areas in advance and reads their pages; what they are used for is in pagescan-criu.h.
 */
#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "land/landing.h"
#include "landing.h"
#include "log.h"

static struct landing landing;

/* The task that this process is, 0: none that is known; and how many bytes it has not read again. */
static int self;
static uint64_t spared;

/* clone3(2) with a pid is how criu makes the tasks, and nothing else (criu/clone-noasan.c). */
static int wanted_pid(const struct clone_args *args, size_t size)
{
	if (size < CLONE_ARGS_SIZE_VER1 || args->flags & CLONE_VM || !args->set_tid_size)
		return 0;
	return *(const pid_t *)args->set_tid;
}

static long on_syscall(long number, ...)
{
	unsigned long arg[6];
	va_list args;
	int pid = 0;
	long result;

	va_start(args, number);
	for (size_t i = 0; i < 6; i++)
		arg[i] = va_arg(args, unsigned long);
	va_end(args);
	if (number == SYS_clone3)
		pid = wanted_pid((const struct clone_args *)arg[0], arg[1]);
	if (pid)
		landing_fork(&landing, pid);
	result = syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (pid && !result) {
		landing_fork_child(&landing, pid);
		self = pid;
		spared = 0;
	} else if (pid && result > 0) {
		landing_fork_parent(&landing, pid);
	}
	return result;
}

static void tell_landed(const void *addr)
{
	struct reason what;

	if (landing_summary(&landing, self, addr, spared, &what))
		pr_info("%s\n", what.text);
}

static void *on_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	struct reason why = { "" };
	void *at = NULL;

	if (!addr && prot == PROT_NONE && flags == (MAP_PRIVATE | MAP_ANONYMOUS))
		at = landing_region(&landing, self, size);
	else if (flags & MAP_FIXED)
		at = landing_area(&landing, self, addr, size, prot, flags, &why);
	if (why.text[0])
		pr_warn("%s\n", why.text);
	if (flags & MAP_FIXED)
		tell_landed(addr);
	return at ? at : mmap(addr, size, prot, flags, fd, offset);
}

static void *on_mremap(void *addr, size_t size, size_t new_size, int flags, ...)
{
	void *to;
	va_list args;

	va_start(args, flags);
	to = va_arg(args, void *);
	va_end(args);
	if (flags & MREMAP_FIXED)
		landing_skip_area(&landing, self, to, new_size);
	return mremap(addr, size, new_size, flags, to);
}

static ssize_t on_preadv(int fd, const struct iovec *vec, int nr, off_t offset)
{
	ssize_t got = landing_preadv(&landing, self, fd, vec, nr, offset, &spared);

	if (got < 0 && errno == EUCLEAN)
		pr_err("BUG: memory that was held ready for %d is not what its images have\n", self);
	return got;
}

static struct slot slots[] = {
	{ "syscall", NULL, (void *)on_syscall, false },
	{ "mmap64", "mmap", (void *)on_mmap, false },
	{ "mremap", NULL, (void *)on_mremap, false },
	{ "preadv64", "preadv", (void *)on_preadv, false },
};

#define NR_SLOTS (sizeof(slots) / sizeof(*slots))

/* Returns NULL or the name of a function that criu does not import. */
static const char *missing(const struct elf *elf)
{
	if (slots_find(elf, slots, NR_SLOTS))
		return "a readable import table";
	for (size_t i = 0; i < NR_SLOTS; i++) {
		if (!slots[i].found)
			return slots[i].name;
	}
	return NULL;
}

static void answer(int sock, char kind, const char *text)
{
	char packet[sizeof(struct reason) + 1];
	const int len = snprintf(packet, sizeof(packet), "%c%s", kind, text);

	/* Who waits for an answer that does not come sees the end of this process instead. */
	if (send(sock, packet, (size_t)len, MSG_NOSIGNAL) < 0)
		_exit(EXIT_FAILURE);
}

/* The next packet, as a string. Returns false if there is none. */
static bool receive(int sock, char *packet, size_t size)
{
	ssize_t len;

	do
		len = recv(sock, packet, size - 1, 0);
	while (len < 0 && errno == EINTR);
	packet[len > 0 ? len : 0] = '\0';
	return len > 0;
}

int landing_socket(const char *where)
{
	char *end;
	int number = (int)strtol(where, &end, 10);
	int process = *end == ':' ? (int)syscall(SYS_pidfd_open, number, 0) : -1;

	if (*end != ':')
		return number;
	number = (int)syscall(SYS_pidfd_getfd, process, atoi(end + 1), 0);
	if (process >= 0)
		close(process);
	return number;
}

void landing_wait(int sock, const struct elf *elf)
{
	const char *verify = getenv("PAGESCAN_VERIFY");
	const char *lacks = missing(elf);
	char packet[PATH_MAX + 1];
	struct reason cold = { "" };

	if (lacks)
		reason_set(&cold, 0, "criu does not import %s", lacks);
	landing.verify = verify && !strcmp(verify, "1");
	while (receive(sock, packet, sizeof(packet)) && (*packet == LAND_ROUND || *packet == LAND_ASK)) {
		uint64_t bytes = 0;
		char text[32];

		if (*packet == LAND_ROUND && !cold.text[0] && landing_load(&landing, packet + 1, &bytes, &cold))
			pr_warn("a plain restore: %s\n", cold.text);
		snprintf(text, sizeof(text), "%lu", bytes);
		answer(sock, cold.text[0] ? LAND_COLD : LAND_LOADED, cold.text[0] ? cold.text : text);
	}
	if (*packet != LAND_LAST)
		_exit(EXIT_FAILURE); /* nobody wants it any more */
	close(sock);
	if (!cold.text[0] && !landing_settle(&landing, packet + 1, &cold))
		if (slots_bind(elf, slots, NR_SLOTS))
			reason_set(&cold, 0, "criu's import slots cannot be rebound");
	if (cold.text[0]) {
		landing_fini(&landing);
		pr_warn("a plain restore: %s\n", cold.text);
	}
}
