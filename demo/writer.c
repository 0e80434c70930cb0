// SPDX-License-Identifier: GPL-2.0-only
/*
 * writer.c - the demo's process: much memory, a writer that never rests, and a verdict on every byte at the end.
 *
 * writer MIB RATE STATUS [HUGE]: HUGE percent of MIB mebibytes lie on huge pages (50), the rest on small ones. RATE
 * pages a second, drawn by a generator from a fixed seed, are written anew, each as a whole. What a page must hold
 * follows from the number of the write that touched it last, so the only memory of its own that the writer changes is
 * its counter. STATUS, a file mapped shared, shows the counter while it runs and the verdict in the end. SIGTERM:
 * verify and exit.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define SEED 20UL

/* Layout known to demo/run. */
struct status {
	uint64_t writes;
	uint64_t verified;
	uint64_t bad_pages;
	uint64_t done;
	uint64_t longest_ns; /* that it did not write; who reads it may set it back */
};

static volatile sig_atomic_t stop;
static uint64_t writes, state = SEED;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* A 64-bit linear congruential generator; demo/run steps the same one to know which pages were touched. */
static uint64_t next_page(uint64_t *generator, uint64_t pages)
{
	*generator = *generator * 6364136223846793005UL + 1442695040888963407UL;
	return (*generator >> 33) % pages;
}

/* Every word differs from that of any other page and any other write. Write 0 is the first filling. */
static uint64_t word(uint64_t page, uint64_t number, uint64_t i)
{
	return (page * 512 + i) * 0x9e3779b97f4a7c15UL ^ number << 1;
}

static void fill(char *memory, uint64_t page, uint64_t number)
{
	uint64_t *at = (uint64_t *)(memory + page * PAGE);

	for (uint64_t i = 0; i < PAGE / 8; i++)
		at[i] = word(page, number, i);
}

static char *map(size_t bytes, size_t huge)
{
	char *area = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory;

	if (area == MAP_FAILED) {
		perror("writer: mmap");
		exit(1);
	}
	memory = (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));
	madvise(memory, huge, MADV_HUGEPAGE);
	madvise(memory + huge, bytes - huge, MADV_NOHUGEPAGE);
	return memory;
}

/* Draw the same pages again to learn which write each one saw last, then compare every word. */
static uint64_t verify(const char *memory, uint64_t pages)
{
	uint64_t *last = calloc(pages, sizeof(*last));
	uint64_t generator = SEED, bad = 0;

	if (!last)
		return pages;
	for (uint64_t number = 1; number <= writes; number++)
		last[next_page(&generator, pages)] = number;
	for (uint64_t page = 0; page < pages; page++) {
		const uint64_t *at = (const uint64_t *)(memory + page * PAGE);
		uint64_t i = 0;

		while (i < PAGE / 8 && at[i] == word(page, last[page], i))
			i++;
		bad += i < PAGE / 8;
	}
	free(last);
	return bad;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000UL + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_term };
	struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t pages, rate, burst, huge, last;
	struct status *status;
	char *memory;
	int fd;

	if (argc < 4 || argc > 5 || (pages = strtoul(argv[1], NULL, 10) * 256) < 1024 ||
	    !(rate = strtoul(argv[2], NULL, 10))) {
		fputs("Usage: writer MIB RATE STATUS [HUGE] (MIB 4 or more, RATE in pages a second, HUGE in percent)\n",
		      stderr);
		return 2;
	}
	fd = open(argv[3], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, PAGE) ||
	    (status = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		perror(argv[3]);
		return 1;
	}
	close(fd);
	setsid();
	sigaction(SIGTERM, &action, NULL);

	huge = argc > 4 ? strtoul(argv[4], NULL, 10) : 50;
	memory = map(pages * PAGE, pages * (huge < 100 ? huge : 100) / 100 * PAGE);
	for (uint64_t page = 0; page < pages; page++)
		fill(memory, page, 0);

	burst = rate > 1000 ? rate / 1000 : 1;
	pause.tv_nsec = (long)(1000000000UL * burst / rate % 1000000000UL);
	pause.tv_sec = (time_t)(burst / rate);
	last = now_ns();
	while (!stop) {
		uint64_t now = now_ns();

		if (now - last > status->longest_ns)
			status->longest_ns = now - last;
		last = now;
		for (uint64_t i = 0; i < burst; i++) {
			uint64_t page = next_page(&state, pages);

			fill(memory, page, writes + 1);
			status->writes = ++writes;
		}
		nanosleep(&pause, NULL);
	}

	status->bad_pages = verify(memory, pages);
	status->verified = pages;
	status->done = 1;
	return status->bad_pages != 0;
}
