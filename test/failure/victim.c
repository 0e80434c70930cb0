// SPDX-License-Identifier: GPL-2.0-only
/*
 * victim.c - a process that knows what each byte of its memory has to be, for tests in which criu fails.
 *
 * Guards the first rule of the plugin: whatever went wrong between two rounds, no page of a restore is of an older
 * round. `victim DIR [ROLE...]`: writes its memory all the time; "child" makes a second process that does the same,
 * "leftover" has an unused userfaultfd, as a criu leaves it that was killed, "sequence" is stopped in a restartable
 * sequence, "aio" could read asynchronously, "direct" past the page tables, "disk" likewise
 * from /run/disk/file, on a disk that the test has made; "lockf" and "flock" hold a lock on DIR/locked.
 * SIGUSR1: write one more class of pages. SIGUSR2: verify every byte, write the verdict to DIR/verdict.N. SIGTERM: the same,
 * and exit 0 or 1.
 * DIR/status is shared with the test and outlives dump and restore.
 *
 * Each class is written once and never again, so a page of it that a round has missed stays wrong to the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#define CLASSES 64
#define TOUCHED 48 /* classes for SIGUSR1; pages of the others are written at random */
#define HUGE	(2UL << 20)

enum { SMALL, THP, FILE_PAGES, AREAS };

/* Generation 0 was never written since it was mapped (or dropped): zeros, or the file's own content. */
struct area {
	const char *name;
	size_t pages;
	uint64_t *words;
	uint32_t *generations;
};

static struct area areas[AREAS] = {
	[SMALL] = { .name = "small", .pages = 2048 },
	[THP] = { .name = "huge", .pages = 1024 },
	[FILE_PAGES] = { .name = "file", .pages = 512 },
};

struct status {
	volatile int pid;
	volatile uint32_t touches;
	volatile uint64_t writes;
};

static struct status *status; /* one of two */
static size_t page_size, page_words;
static const char *dir;
static int number;	 /* 0, or 1 for the child */
static uint32_t touches; /* as status->touches, but in memory that criu dumps */
static uint64_t writes;	 /* the same of status->writes */
static bool sole;
static uint64_t state = 0x9e3779b97f4a7c15;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(errno));
	exit(2);
}

static int open_in_dir(const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		die("%s", path);
	return fd;
}

static uint64_t draw(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return state >> 20;
}

/* A word of a page: different for each area, page, generation and place. */
static uint64_t content(size_t area, size_t page, uint32_t generation, size_t word)
{
	uint64_t x = ((uint64_t)(area + 1 + AREAS * (size_t)number) << 58) ^ ((uint64_t)page << 36) ^
		     ((uint64_t)generation << 9) ^ word;

	x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9u;
	return x ^ (x >> 29);
}

static void write_page(size_t area, size_t page)
{
	uint64_t *words = areas[area].words + page * page_words;
	uint32_t generation = ++areas[area].generations[page];

	for (size_t i = 0; i < page_words; i++)
		words[i] = content(area, page, generation, i);
	status->writes++;
	writes++;
}

static void drop_page(size_t area, size_t page)
{
	if (madvise(areas[area].words + page * page_words, page_size, MADV_DONTNEED))
		die("madvise");
	areas[area].generations[page] = 0;
}

static void touch(void)
{
	for (size_t area = 0; area < AREAS; area++) {
		for (size_t page = touches % TOUCHED; page < areas[area].pages; page += CLASSES) {
			if (page % 7)
				write_page(area, page);
			else
				drop_page(area, page);
		}
	}
	status->touches = ++touches;
}

static void write_some(void)
{
	for (size_t i = 0; i < 4; i++) {
		size_t area = draw() % AREAS;
		size_t group = draw() % (areas[area].pages / CLASSES);

		write_page(area, group * CLASSES + TOUCHED + draw() % (CLASSES - TOUCHED));
	}
}

static void fill_file(int fd, size_t pages)
{
	FILE *out = fdopen(dup(fd), "w");

	if (!out)
		die("fdopen");
	for (size_t i = 0; i < pages * page_words; i++) {
		uint64_t word = content(FILE_PAGES, i / page_words, 0, i % page_words);

		fwrite(&word, sizeof(word), 1, out);
	}
	if (fclose(out))
		die("data");
}

static void map(size_t number_of_area)
{
	struct area *area = &areas[number_of_area];
	size_t size = area->pages * page_size;
	char *at, name[16];
	int fd = -1;

	area->generations =
		mmap(NULL, area->pages * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (number_of_area == FILE_PAGES) {
		snprintf(name, sizeof(name), "data.%d", number);
		fd = open_in_dir(name, O_RDWR | O_CREAT | O_TRUNC);
		fill_file(fd, area->pages);
	}
	at = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED || area->generations == MAP_FAILED)
		die("mmap");
	at = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	if (fd >= 0 && mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap of the file");
	if (fd >= 0)
		close(fd);
	else
		madvise(at, size, number_of_area == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	area->words = (uint64_t *)at;
	/* An eighth stays as it was mapped, and of the file three quarters. */
	for (size_t page = 0; page < area->pages * (fd >= 0 ? 2 : 7) / 8; page++)
		write_page(number_of_area, page);
}

/* How many words of the page are wrong. */
static size_t verify_page(size_t area, size_t page)
{
	const uint64_t *words = areas[area].words + page * page_words;
	uint32_t generation = areas[area].generations[page];
	size_t bad = 0;

	for (size_t i = 0; i < page_words; i++) {
		bool zero = !generation && area != FILE_PAGES;

		bad += words[i] != (zero ? 0 : content(area, page, generation, i));
	}
	return bad;
}

static bool verify(void)
{
	size_t bad = 0, first_area = 0, first_page = 0;
	char name[16];
	FILE *out;

	for (size_t area = 0; area < AREAS; area++) {
		for (size_t page = 0; page < areas[area].pages; page++) {
			if (verify_page(area, page) && !bad++) {
				first_area = area;
				first_page = page;
			}
		}
	}
	snprintf(name, sizeof(name), "verdict.%d", number);
	out = fdopen(open_in_dir(name, O_WRONLY | O_CREAT | O_TRUNC), "w");
	if (!out)
		die("%s", name);
	if (sole && writes != status->writes)
		fprintf(out, "FAIL it wrote %lu pages, but %lu were written: another one ran", writes, status->writes);
	else if (bad)
		fprintf(out, "FAIL %zu pages wrong, the first is %s %zu (class %zu)", bad, areas[first_area].name,
			first_page, first_page % CLASSES);
	else
		fprintf(out, "PASS %u", touches);
	return !fclose(out) && !bad;
}

static void map_status(void)
{
	int fd = open_in_dir("status", O_RDWR | O_CREAT);

	if (ftruncate(fd, page_size))
		die("ftruncate");
	status = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (status == MAP_FAILED)
		die("mmap of the status");
	close(fd);
}

#if defined(RSEQ_SIG) && defined(__x86_64__)
/*
 * The kernel looks at where a sequence was left only when the task runs again: one that sleeps in a system call is in
 * it. Aborted or not, what the call returned is in its register.
 */
static int wait_in_sequence(const sigset_t *signals, const struct timespec *timeout)
{
	struct rseq *rs = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	register long size __asm__("r10") = 8;
	long got = SYS_rt_sigtimedwait;

	__asm__ volatile(".pushsection __rseq_cs, \"aw\"\n"
			 ".balign 32\n"
			 "3:\n"
			 ".long 0, 0\n"
			 ".quad 1f, 2f - 1f, 4f\n"
			 ".popsection\n"
			 "leaq 3b(%%rip), %%rcx\n"
			 "movq %%rcx, %[cs]\n"
			 "1:\n"
			 "syscall\n"
			 "nop\n"
			 "2:\n"
			 ".pushsection __rseq_failure, \"ax\"\n"
			 ".byte 0x0f, 0xb9, 0x3d\n"
			 ".long %c[signature]\n"
			 "4:\n"
			 "jmp 2b\n"
			 ".popsection\n"
			 : "+a"(got), [cs] "+m"(rs->rseq_cs)
			 : "D"(signals), "S"(NULL), "d"(timeout), "r"(size), [signature] "i"(RSEQ_SIG)
			 : "memory", "cc", "rcx", "r11");
	return (int)got;
}
#else
static int wait_in_sequence(const sigset_t *signals, const struct timespec *timeout)
{
	return sigtimedwait(signals, NULL, timeout);
}
#endif

/* A plain loop without handlers: however a killed criu leaves the signal mask, these are blocked and waited for. */
static int live(pid_t child, const sigset_t *signals, bool in_sequence)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (;;) {
		switch (in_sequence ? wait_in_sequence(signals, &pause) : sigtimedwait(signals, NULL, &pause)) {
		case SIGUSR1:
			if (child)
				kill(child, SIGUSR1);
			touch();
			break;
		case SIGUSR2:
			if (child)
				kill(child, SIGUSR2);
			(void)verify();
			break;
		case SIGTERM:
			return verify() ? 0 : 1;
		default:
			write_some();
		}
	}
}

static bool has_role(char **argv, const char *role)
{
	while (*argv && strcmp(*argv, role))
		argv++;
	return *argv;
}

static int open_locked(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/locked", dir);
	return open(path, O_RDWR | O_CREAT, 0600);
}

int main(int argc, char **argv)
{
	bool with_child = has_role(argv, "child");
	aio_context_t ring = 0;
	int result, child_status = 0;
	sigset_t signals;
	pid_t child = 0;

	if (argc < 2)
		die("usage: victim DIR [ROLE...]");
	if (has_role(argv, "leftover") && syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY) < 0)
		die("userfaultfd");
	if (has_role(argv, "aio") && syscall(SYS_io_setup, 1, &ring))
		die("io_setup");
	dir = argv[1];
	sole = has_role(argv, "sole");
	if (has_role(argv, "direct") && open("/proc/self/exe", O_RDONLY | O_DIRECT) < 0)
		die("O_DIRECT");
	if (has_role(argv, "disk") && open("/run/disk/file", O_RDONLY | O_DIRECT) < 0)
		die("O_DIRECT of /run/disk/file");
	if (has_role(argv, "lockf") && lockf(open_locked(), F_LOCK, 0))
		die("lockf");
	if (has_role(argv, "flock") && flock(open_locked(), LOCK_EX))
		die("flock");
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	page_words = page_size / sizeof(uint64_t);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	map_status();
	if (with_child) {
		child = fork();
		if (child < 0)
			die("fork");
		number = !child;
		status += number;
	}
	for (size_t i = 0; i < AREAS; i++)
		map(i);
	status->pid = getpid();
	result = live(child, &signals, has_role(argv, "sequence"));
	if (child) {
		kill(child, SIGTERM);
		if (waitpid(child, &child_status, 0) != child || child_status)
			result = 1;
	}
	return result;
}
