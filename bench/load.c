// SPDX-License-Identifier: GPL-2.0-only
/*
 * load.c - the load of bench/live: processes that write random pages at a steady rate and note how late they are.
 *
 * load MIB RATE STATUS small|huge PROCESSES: each has MIB mebibytes, on pages of that size, and writes RATE pages a
 * second, a millisecond's share at a time. How long after its appointed time each share was written goes into a
 * histogram in STATUS, a file that all processes and bench/live share, who sets it back as it likes. Runs until it is
 * killed.
 *
 * load copy MIB FILE STATUS PID...: write so much memory of each of these processes of a load to a new file, and print
 * how many seconds that took. As plain as it can be: process_vm_readv(2) and write(2), a megabyte a call, as live
 * rounds do.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096UL
#define HUGE	(2UL << 20)
#define BUCKETS 400
#define TICK_NS 1000000

/* Layout known to bench/live. Bucket b counts lateness below 2^(b/8) ns, and not below that of the one before. */
struct status {
	uint64_t ready; /* processes that have filled their memory */
	uint64_t longest_ns;
	uint64_t late[BUCKETS];
	uint64_t memory; /* its address, the same in all processes */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000UL + (uint64_t)now.tv_nsec;
}

/* Eight buckets an octave, without a logarithm: the octave, and the three bits behind its first. */
static unsigned int bucket(uint64_t ns)
{
	unsigned int octave = 63 - (unsigned int)__builtin_clzl(ns | 8);

	return octave * 8 + (unsigned int)(ns >> (octave - 3) & 7) + 1;
}

static void note(struct status *status, uint64_t ns)
{
	unsigned int b = bucket(ns);
	uint64_t longest = __atomic_load_n(&status->longest_ns, __ATOMIC_RELAXED);

	__atomic_fetch_add(&status->late[b < BUCKETS ? b : BUCKETS - 1], 1, __ATOMIC_RELAXED);
	while (ns > longest &&
	       !__atomic_compare_exchange_n(&status->longest_ns, &longest, ns, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Before there is a second process. */
static char *reserve(size_t bytes, int huge)
{
	char *area = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory = (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));

	if (area == MAP_FAILED) {
		perror("load: mmap");
		exit(1);
	}
	madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return memory;
}

static void run(struct status *status, size_t bytes, uint64_t rate, uint64_t seed)
{
	char *memory = (char *)(uintptr_t)status->memory;
	uint64_t share = rate / 1000 ? rate / 1000 : 1, tick = rate < 1000 ? 1000000000UL / rate : TICK_NS;
	uint64_t due;

	for (size_t at = 0; at < bytes; at += 8)
		*(uint64_t *)(memory + at) = at * 0x9e3779b97f4a7c15UL + 1;
	__atomic_fetch_add(&status->ready, 1, __ATOMIC_SEQ_CST);
	for (due = now_ns() + seed % tick;; due += tick) {
		const struct timespec time = { (time_t)(due / 1000000000UL), (long)(due % 1000000000UL) };
		uint64_t now;

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
		for (uint64_t i = 0; i < share; i++) {
			seed = seed * 6364136223846793005UL + 1442695040888963407UL;
			*(uint64_t *)(memory + (seed >> 33) % (bytes / PAGE) * PAGE) = seed;
		}
		now = now_ns();
		note(status, now - due);
		/* What was missed is missed: one stall is to count once. */
		if (now > due + tick)
			due = now;
	}
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int copy_one(int pid, uint64_t memory, size_t bytes, int fd)
{
	static char buffer[1UL << 20];

	for (size_t at = 0; at < bytes; at += sizeof(buffer)) {
		const struct iovec from = { (void *)(uintptr_t)(memory + at), sizeof(buffer) };
		const struct iovec to = { buffer, sizeof(buffer) };

		if (process_vm_readv(pid, &to, 1, &from, 1, 0) != sizeof(buffer))
			return fail("load: process_vm_readv");
		if (write(fd, buffer, sizeof(buffer)) != sizeof(buffer))
			return fail("load: write");
	}
	return 0;
}

static int copy(size_t bytes, const char *path, const char *status_path, char **pids)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600), status_fd = open(status_path, O_RDONLY);
	struct status status;
	uint64_t since;

	if (fd < 0 || status_fd < 0 || read(status_fd, &status, sizeof(status)) != sizeof(status))
		return fail(path);
	since = now_ns();
	for (; *pids; pids++) {
		if (copy_one(atoi(*pids), status.memory, bytes, fd))
			return 1;
	}
	close(fd);
	printf("%.6f\n", (double)(now_ns() - since) / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	struct status *status;
	uint64_t rate;
	size_t bytes;
	int fd, processes;

	if (argc > 5 && !strcmp(argv[1], "copy"))
		return copy(strtoul(argv[2], NULL, 10) << 20, argv[3], argv[4], argv + 5);
	if (argc != 6 || !(rate = strtoul(argv[2], NULL, 10)) || (processes = atoi(argv[5])) < 1) {
		fputs("Usage: load MIB RATE STATUS small|huge PROCESSES, or load copy MIB FILE STATUS PID...\n",
		      stderr);
		return 2;
	}
	fd = open(argv[3], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*status)) ||
	    (status = mmap(NULL, sizeof(*status), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		perror(argv[3]);
		return 1;
	}
	close(fd);
	setsid();
	bytes = strtoul(argv[1], NULL, 10) << 20;
	status->memory = (uintptr_t)reserve(bytes, argv[4][0] == 'h');
	for (int i = 1; i < processes; i++) {
		pid_t parent = getpid();

		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() == parent)
				run(status, bytes, rate, (uint64_t)i << 40);
			_exit(1);
		}
	}
	run(status, bytes, rate, 20);
	return 0;
}
