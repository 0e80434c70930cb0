// SPDX-License-Identifier: GPL-2.0-only
/*
 * pages.c - time three ways to find a process's pages, and two to begin the next round, on one shape of memory.
 *
 * pages measure SHAPE MIB PERMILLE RUN REPEATS: a child makes the memory; for a later round it is protected and
 * PERMILLE of its pages are written, spread in runs of RUN pages (PERMILLE "first": nothing is tracked yet). Then, one
 * after the other and REPEATS times, each beginning with the areas in maps (CRIU reads them in smaps, which costs
 * more):
 *   pagemap    read /proc/PID/pagemap and look at every entry, as CRIU does where it does not use the ioctl
 *   criu_mask  PAGEMAP_SCAN with the one mask that CRIU 4 has
 *   pagescan   this project's tracker, begun and asked CRIU's questions
 *   open       the part of it before the first page is looked at: areas, registrations, a userfaultfd
 *   reset      this project's tracker begins the next round
 *   reset_all  all pages are write-protected by CRIU's mask instead
 * Prints one line of JSON, nanoseconds of each repeat. Reading changes nothing, so the ways see the same state; what a
 * reset protected is written again. Untimed, the lists of pages that the ways found are compared ("agree").
 *
 * pages hold SHAPE MIB: the child alone, serving requests on stdin and stdout; bench/run takes it through criu.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"

void die(const char *what)
{
	fprintf(stderr, "pages: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

void *map(size_t bytes, int flags, int fd)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags, fd, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000UL + (uint64_t)ts.tv_nsec;
}

int64_t ask_child(const struct task *task, enum op op, uint64_t a, uint64_t b)
{
	const struct request request = { op, a, b };
	int64_t reply;

	if (write(task->sock, &request, sizeof(request)) != sizeof(request) ||
	    read(task->sock, &reply, sizeof(reply)) != sizeof(reply))
		die("the child does not answer");
	return reply;
}

enum { PAGEMAP, CRIU_MASK, PAGESCAN, WAYS, OPEN = WAYS, RESET, RESET_ALL, TIMES };

static const char *const names[TIMES] = { "pagemap", "criu_mask", "pagescan", "open", "reset", "reset_all" };

static uint64_t time_way(struct task *task, int way, struct found *found)
{
	static void (*const ways[WAYS])(struct task *, struct found *) = { pagemap_way, criu_mask_way, pagescan_way };
	uint64_t start = now_ns();

	ways[way](task, found);
	return now_ns() - start;
}

static uint64_t time_reset(void)
{
	uint64_t start = now_ns();

	pagescan_reset();
	return now_ns() - start;
}

static uint64_t time_reset_all(const struct task *task)
{
	uint64_t start = now_ns();

	protect_all(task, round_now.tracker.uffd);
	return now_ns() - start;
}

/* Back to the state before a reset: in a first round nothing is registered, in a later one a share is written. */
static void restore_state(const struct task *task, bool later, uint64_t count, uint64_t run)
{
	if (later) {
		ask_child(task, WRITE, count, run);
	} else {
		keeper_forget();
		tracker_close(&round_now.tracker);
	}
}

static bool same(const struct pagescan_regions *a, const struct pagescan_regions *b)
{
	return a->nr == b->nr && (!a->nr || !memcmp(a->v, b->v, a->nr * sizeof(*a->v)));
}

/* The untimed run: warms up, and compares what the ways find. Which pages were written CRIU's mask cannot tell. */
static bool compare(struct task *task, struct found *found, uint64_t *dirty)
{
	struct found by[WAYS] = { { .keep = true }, { .keep = true }, { .keep = true } };
	bool agree = true;

	for (int way = 0; way < WAYS; way++) {
		time_way(task, way, &by[way]);
		agree = agree && same(&by[0].all, &by[way].all);
	}
	tracker_close(&round_now.tracker);
	agree = agree && same(&by[PAGEMAP].dirty, &by[PAGESCAN].dirty);

	*dirty = pagescan_regions_bytes(&by[PAGESCAN].dirty) / PAGE;
	*found = by[PAGEMAP];
	for (int way = 0; way < WAYS; way++)
		found_fini(&by[way]);
	return agree;
}

static void print_row(const struct found *found, uint64_t dirty, bool agree, uint64_t *const times[TIMES], int repeats)
{
	printf("{\"pages\": %" PRIu64 ", \"dirty\": %" PRIu64 ", \"swapped\": %" PRIu64 ", \"agree\": %s", found->pages,
	       dirty, found->swapped, agree ? "true" : "false");
	for (int what = 0; what < TIMES; what++) {
		printf(", \"%s\": [", names[what]);
		for (int i = 0; i < repeats; i++)
			printf("%s%" PRIu64, i ? ", " : "", times[what][i]);
		printf("]");
	}
	printf("}\n");
}

static void measure(struct task *task, bool later, uint64_t count, uint64_t run, int repeats)
{
	uint64_t *times[TIMES];
	struct found found;
	uint64_t dirty;
	bool agree;

	for (int what = 0; what < TIMES; what++) {
		times[what] = calloc((size_t)repeats, sizeof(**times));
		if (!times[what])
			die("memory");
	}
	pagescan_probe(&round_now.kernel);

	if (later) {
		time_way(task, PAGESCAN, &(struct found){ 0 });
		pagescan_reset();
		tracker_close(&round_now.tracker);
		round_now.parent = (struct epoch_image){ &round_now.record, 1 };
		ask_child(task, WRITE, count, run);
	}
	agree = compare(task, &found, &dirty);

	for (int i = 0; i < repeats; i++) {
		struct found again[WAYS] = { 0 };

		/* The order rotates, so that none always finds the caches as another left them. */
		for (int way = 0; way < WAYS; way++)
			times[(i + way) % WAYS][i] = time_way(task, (i + way) % WAYS, &again[(i + way) % WAYS]);
		times[OPEN][i] = round_now.open_ns;
		for (int way = 0; way < WAYS; way++)
			agree = agree && again[way].pages == found.pages;

		times[RESET][i] = time_reset();
		restore_state(task, later, count, run);
		if (!later)
			time_way(task, PAGESCAN, &again[PAGESCAN]);
		times[RESET_ALL][i] = time_reset_all(task);
		restore_state(task, later, count, run);
		if (later)
			tracker_close(&round_now.tracker);
	}
	print_row(&found, dirty, agree, times, repeats);
	for (int what = 0; what < TIMES; what++)
		free(times[what]);
}

/* The frame of the shared zero page, which CRIU reads off a page of its own too. */
static uint64_t find_zero_frame(void)
{
	volatile char *page = map(PAGE, MAP_ANONYMOUS, -1);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t pme;

	(void)page[0];
	if (fd < 0 || pread(fd, &pme, sizeof(pme), (off_t)((uintptr_t)page / PAGE * sizeof(pme))) != sizeof(pme))
		die("/proc/self/pagemap");
	close(fd);
	munmap((void *)page, PAGE);
	return pme & PME_FRAME_MASK;
}

static void task_init(struct task *task, int pid, int sock)
{
	uint64_t longest = CRIU_WINDOW;
	char path[32];

	*task = (struct task){ .sock = sock, .zero_frame = find_zero_frame() };
	snprintf(path, sizeof(path), "/proc/%d", pid);
	task->proc_dir = open(path, O_RDONLY | O_DIRECTORY);
	task->pagemap_fd = openat(task->proc_dir, "pagemap", O_RDONLY);
	if (task->proc_dir < 0 || task->pagemap_fd < 0 || areas_read(task->proc_dir, &task->areas))
		die(path);
	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];

		if (is_asked(area) && area->end - area->start > longest)
			longest = area->end - area->start;
	}
	task->map = map(longest / PAGE * sizeof(*task->map), MAP_ANONYMOUS, -1);
	task->vec = map(CRIU_VEC_LEN * sizeof(*task->vec), MAP_ANONYMOUS, -1);
}

static int usage(void)
{
	fputs("Usage: pages measure SHAPE MIB first|PERMILLE RUN REPEATS | pages hold SHAPE MIB\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const struct shape *shape = argc > 3 ? find_shape(argv[2]) : NULL;
	uint64_t mib = shape ? strtoul(argv[3], NULL, 10) : 0;
	struct task task;
	uint64_t pages;
	int socks[2], pid;

	if (!mib)
		return usage();
	if (pagescan_page_size() != PAGE)
		die("made for pages of 4 KiB");
	if (argc == 4 && !strcmp(argv[1], "hold")) {
		serve(shape, mib, STDIN_FILENO, STDOUT_FILENO);
		return 0;
	}
	if (argc != 7 || strcmp(argv[1], "measure") || !atoi(argv[5]) || atoi(argv[6]) < 1)
		return usage();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(socks[0]);
		serve(shape, mib, socks[1], socks[1]);
		_exit(0);
	}
	close(socks[1]);
	task.sock = socks[0];
	pages = (uint64_t)ask_child(&task, READY, 0, 0);
	task_init(&task, pid, socks[0]);
	/* At least one page is written where any are meant to be. */
	measure(&task, strcmp(argv[4], "first") != 0, (pages * strtoul(argv[4], NULL, 10) + 999) / 1000,
		strtoul(argv[5], NULL, 10), atoi(argv[6]));
	close(socks[0]);
	waitpid(pid, NULL, 0);
	return 0;
}
