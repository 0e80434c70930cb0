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
 *
 * Linked with the objects of scan and track; the keeper, a process of its own, is two functions here. Whole criu runs
 * pay for the real one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "track/keeper.h"
#include "track/tracker.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define PAGE	  4096UL
#define HUGE_PAGE (2UL << 20)
#define TIB	  (1UL << 40)

/* criu/pagemap-cache.c */
#define CRIU_VEC_LEN	32768
#define CRIU_WINDOW	(2UL << 20)
#define CRIU_WINDOW_GAP (CRIU_WINDOW / 4)

#define POPULATED (PAGESCAN_PRESENT | PAGESCAN_SWAPPED)

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "pages: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

static void *map(size_t bytes, int flags, int fd)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags, fd, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

/* The time of this thread alone, none of which it spends asleep: others on the machine are not measured. */
static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000UL + (uint64_t)ts.tv_nsec;
}

/* ---- the process that has the memory ---- */

/* Page number i lies in group i / @group; groups begin @pitch bytes apart. */
struct memory {
	char *base;
	uint64_t pages;
	uint64_t group;
	uint64_t pitch;
};

static char *page_at(const struct memory *memory, uint64_t i)
{
	return memory->base + i / memory->group * memory->pitch + i % memory->group * PAGE;
}

static void fill(const struct memory *memory)
{
	for (uint64_t i = 0; i < memory->pages; i++)
		*(volatile uint64_t *)page_at(memory, i) = i + 1;
}

static struct memory make_flat(uint64_t mib, int advice)
{
	struct memory memory = { .pages = mib * 256, .group = mib * 256 };
	uintptr_t area = (uintptr_t)map(mib * HUGE_PAGE / 2 + HUGE_PAGE, MAP_ANONYMOUS, -1);

	memory.base = (char *)((area + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	madvise(memory.base, memory.pages * PAGE, advice);
	fill(&memory);
	return memory;
}

static struct memory make_dense(uint64_t mib)
{
	return make_flat(mib, MADV_NOHUGEPAGE);
}

static struct memory make_thp(uint64_t mib)
{
	return make_flat(mib, MADV_HUGEPAGE);
}

/* As a garbage collector's heap: the pages lie at the beginning of an area four times as large. */
static struct memory make_heap(uint64_t mib)
{
	struct memory memory = { .pages = mib * 256, .group = mib * 256 };

	memory.base = map(mib << 22, MAP_ANONYMOUS | MAP_NORESERVE, -1);
	madvise(memory.base, mib << 22, MADV_NOHUGEPAGE);
	fill(&memory);
	return memory;
}

/* The kernel may leave pages in memory; the parent tells how many are out. */
static struct memory make_swap(uint64_t mib)
{
	struct memory memory = make_dense(mib);

	if (madvise(memory.base, memory.pages * PAGE, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
	return memory;
}

/* All of the file is in memory, every other MiB of it as pages of the process's own. */
static struct memory make_file(uint64_t mib)
{
	struct memory memory = { .pages = mib * 128, .group = 256, .pitch = 512 * PAGE };
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(mib << 20)))
		die("a file in the current directory");
	memory.base = map(mib << 20, 0, fd);
	close(fd);
	for (uint64_t at = 0; at < mib << 20; at += PAGE)
		(void)*(volatile char *)(memory.base + at);
	fill(&memory);
	return memory;
}

static struct memory make_tib(uint64_t pitch)
{
	struct memory memory = { .pages = 1000, .group = 1, .pitch = pitch };

	memory.base = map(TIB, MAP_ANONYMOUS | MAP_NORESERVE, -1);
	madvise(memory.base, TIB, MADV_NOHUGEPAGE);
	fill(&memory);
	return memory;
}

/* Each page has a page table of its own; ... */
static struct memory make_near(uint64_t mib)
{
	(void)mib;
	return make_tib(HUGE_PAGE);
}

/* ... and a directory of page tables too, the worst there is: half a million empty entries to walk. */
static struct memory make_far(uint64_t mib)
{
	(void)mib;
	return make_tib(TIB / 1000 / PAGE * PAGE);
}

/* 10,000 areas of 64 KiB, a page without a mapping between each two. */
static struct memory make_areas(uint64_t mib)
{
	struct memory memory = { .pages = 160000, .group = 16, .pitch = 17 * PAGE };

	(void)mib;
	memory.base = map(memory.pages / memory.group * memory.pitch, MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (uint64_t i = 0; i < memory.pages; i += memory.group)
		munmap(page_at(&memory, i) + memory.group * PAGE, PAGE);
	fill(&memory);
	return memory;
}

static const struct shape {
	const char *name;
	struct memory (*make)(uint64_t mib);
} shapes[] = {
	{ "dense", make_dense }, { "heap", make_heap }, { "thp", make_thp },	 { "file", make_file },
	{ "near", make_near },	 { "far", make_far },	{ "areas", make_areas }, { "swap", make_swap },
};

/* Maps [0, 2^bits) onto itself in an order that looks random. */
static uint64_t scramble(uint64_t i, unsigned int bits)
{
	const uint64_t mask = (1UL << bits) - 1;

	for (int round = 0; round < 3; round++) {
		i = (i * 0x9e3779b97f4a7c15UL + 0x7f4a7c15UL) & mask;
		i ^= i >> (bits / 2 + 1);
	}
	return i;
}

/* Write to @count pages in runs of @run: the same ones each time. */
static void write_pages(const struct memory *memory, uint64_t count, uint64_t run)
{
	const uint64_t slots = memory->pages / run;
	unsigned int bits = 1;
	uint64_t left = count / run;

	while (1UL << bits < slots)
		bits++;
	for (uint64_t i = 0; left && i < 1UL << bits; i++) {
		uint64_t slot = scramble(i, bits);

		if (slot >= slots)
			continue;
		for (uint64_t page = slot * run; page < (slot + 1) * run; page++)
			++*(volatile uint64_t *)page_at(memory, page);
		left--;
	}
}

/* Known to bench/run. READY: the memory is made, and its number of pages; WRITE: @a pages in runs of @b. */
enum op { READY, WRITE, SYSCALL };

struct request {
	uint64_t op;
	uint64_t a;
	uint64_t b;
};

static void serve(const struct shape *shape, uint64_t mib, int in, int out)
{
	const struct memory memory = shape->make(mib);
	struct request request;

	while (read(in, &request, sizeof(request)) == sizeof(request)) {
		int64_t reply = (int64_t)memory.pages;

		if (request.op == WRITE) {
			write_pages(&memory, request.a, request.b);
		} else if (request.op == SYSCALL) {
			reply = syscall((long)request.a, request.b, 0, 0, 0, 0, 0);
			reply = reply < 0 ? -errno : reply;
		}
		if (write(out, &reply, sizeof(reply)) != sizeof(reply))
			return;
	}
}

/* ---- what the ways have in common ---- */

struct task {
	int sock;
	int proc_dir;
	int pagemap_fd;
	struct areas areas;
	uint64_t *map;
	struct pagescan_region *vec;
	uint64_t zero_frame;
};

/* The round that the project's tracker is in, the images it builds on, and what it cost before it read any page. */
static struct {
	uint64_t open_ns;
	struct pagescan_kernel kernel;
	struct epoch_record record;
	struct epoch_image parent;
	struct tracker tracker;
} round_now;

static int64_t ask_child(const struct task *task, enum op op, uint64_t a, uint64_t b)
{
	const struct request request = { op, a, b };
	int64_t reply;

	if (write(task->sock, &request, sizeof(request)) != sizeof(request) ||
	    read(task->sock, &reply, sizeof(reply)) != sizeof(reply))
		die("the child does not answer");
	return reply;
}

/* What a way found. The lists are kept in the untimed run only; @dirty is filled by the ways that can tell. */
struct found {
	uint64_t pages;
	uint64_t swapped;
	bool keep;
	struct pagescan_regions all;
	struct pagescan_regions dirty;
};

static inline void found_add(struct found *found, uint64_t start, uint64_t end, uint64_t categories)
{
	found->pages += (end - start) / PAGE;
	if (categories & PAGESCAN_SWAPPED)
		found->swapped += (end - start) / PAGE;
	if (found->keep && (pagescan_regions_add(&found->all, start, end, 0) ||
			    ((categories & PAGESCAN_SOFT_DIRTY) && pagescan_regions_add(&found->dirty, start, end, 0))))
		die("a list of pages");
}

static void found_fini(struct found *found)
{
	pagescan_regions_fini(&found->all);
	pagescan_regions_fini(&found->dirty);
}

/*
 * A window as CRIU fills it: from the area's start to its end, or to the end of the 2 MiB that hold this and more
 * small areas (criu/pagemap-cache.c, pmc_fill_cache).
 */
static uint64_t window_end(const struct areas *areas, size_t at)
{
	const struct area *area = &areas->v[at];
	uint64_t low = area->start & ~(CRIU_WINDOW - 1), high = low + CRIU_WINDOW;

	if (area->end - area->start < CRIU_WINDOW && area->start - low < CRIU_WINDOW_GAP && at + 1 < areas->nr &&
	    areas->v[at + 1].end <= high)
		return high;
	return area->end;
}

/* CRIU dumps pages of private memory; what is not readable it cannot reach. */
static bool is_asked(const struct area *area)
{
	return area->trackable;
}

static void read_areas(struct task *task)
{
	areas_fini(&task->areas);
	if (areas_read(task->proc_dir, &task->areas))
		die("maps");
}

/* ---- (a) read pagemap ---- */

static void read_pagemap(const struct task *task, uint64_t start, uint64_t end)
{
	size_t size = (end - start) / PAGE * sizeof(*task->map);

	for (size_t at = 0; at < size;) {
		ssize_t got = pread(task->pagemap_fd, (char *)task->map + at, size - at,
				    (off_t)(start / PAGE * sizeof(*task->map) + at));

		if (got <= 0)
			die("pagemap");
		at += (size_t)got;
	}
}

/* As CRIU decides over an entry (criu/mem.c, should_dump_page). */
static void pagemap_way(struct task *task, struct found *found)
{
	uint64_t start = 0, end = 0;

	read_areas(task);
	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];

		if (!is_asked(area))
			continue;
		if (start > area->start || end < area->end) {
			start = area->start;
			end = window_end(&task->areas, i);
			read_pagemap(task, start, end);
		}
		for (uint64_t addr = area->start; addr < area->end; addr += PAGE) {
			uint64_t pme = task->map[(addr - start) / PAGE];

			if ((pme & PME_GUARD) || (area->file && (pme & PME_FILE)) || !(pme & (PME_PRESENT | PME_SWAP)))
				continue;
			if ((pme & PME_PRESENT) && (pme & PME_FRAME_MASK) == task->zero_frame)
				continue;
			found_add(found, addr, addr + PAGE,
				  (pme & PME_SWAP ? PAGESCAN_SWAPPED : 0) |
					  (pme & PME_UFFD_WP ? 0 : PAGESCAN_SOFT_DIRTY));
		}
	}
}

/* ---- (b) CRIU's mask, asked of the kernel, and (c) asked of the tracker ---- */

struct answerer {
	int pagemap_fd;
	struct snapshot *snapshot; /* NULL: the kernel */
};

/* CRIU's cache of regions: what is known of [start, end). */
struct window {
	uint64_t start;
	uint64_t end;
	int nr;
	int at;
};

static void fill_window(const struct task *task, const struct answerer *from, struct window *window, uint64_t start,
			uint64_t end)
{
	struct pagescan_ioctl_arg arg = snapshot_question(start, end, task->vec, CRIU_VEC_LEN);
	int nr;

	if (round_now.kernel.guard)
		arg.return_mask |= PAGESCAN_GUARD;
	nr = from->snapshot ? snapshot_scan(from->snapshot, &arg) : ioctl(from->pagemap_fd, PAGESCAN_IOCTL, &arg);
	if (nr < 0)
		die(from->snapshot ? "snapshot_scan" : "PAGEMAP_SCAN");
	*window = (struct window){ .start = start, .end = arg.walk_end, .nr = nr };
}

/* CRIU's way through its regions, by the region where it goes by the page (criu/mem.c, should_dump_page). */
static void mask_way(const struct task *task, const struct answerer *from, struct found *found)
{
	struct window window = { 0 };

	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];
		uint64_t addr = area->start;

		if (!is_asked(area))
			continue;
		if (window.start > area->start || window.end < area->end)
			fill_window(task, from, &window, area->start, window_end(&task->areas, i));
		while (addr < area->end) {
			const struct pagescan_region *region;

			if (addr >= window.end)
				fill_window(task, from, &window, addr, area->end);
			while (window.at < window.nr && task->vec[window.at].end <= addr)
				window.at++;
			region = &task->vec[window.at];
			if (window.at == window.nr) {
				addr = window.end;
			} else if (region->start > addr) {
				addr = region->start;
			} else {
				uint64_t end = region->end < area->end ? region->end : area->end;

				if (!(region->categories & PAGESCAN_GUARD))
					found_add(found, addr, end, region->categories);
				addr = end;
			}
		}
	}
}

static void criu_mask_way(struct task *task, struct found *found)
{
	read_areas(task);
	mask_way(task, &(struct answerer){ .pagemap_fd = task->pagemap_fd }, found);
}

/* ---- (c)'s surroundings ---- */

static struct {
	int uffd;
	struct epoch epoch;
} keeper = { .uffd = -1 };

int keeper_get(const struct identity *id, struct epoch *epoch, int *uffd, struct reason *why)
{
	(void)id;
	(void)why;
	if (keeper.uffd < 0)
		return -ENOENT;
	*epoch = keeper.epoch;
	*uffd = fcntl(keeper.uffd, F_DUPFD_CLOEXEC, 0);
	return 0;
}

int keeper_put(const struct identity *id, const struct epoch *epoch, int uffd, struct reason *why)
{
	(void)id;
	(void)why;
	if (keeper.uffd < 0)
		keeper.uffd = fcntl(uffd, F_DUPFD_CLOEXEC, 0);
	keeper.epoch = *epoch;
	return 0;
}

static void keeper_forget(void)
{
	if (keeper.uffd >= 0)
		close(keeper.uffd);
	keeper.uffd = -1;
}

static int child_syscall(void *ctx, long nr, const unsigned long args[6], long *result)
{
	*result = ask_child(ctx, SYSCALL, (uint64_t)nr, args[0]);
	return 0;
}

static void pagescan_way(struct task *task, struct found *found)
{
	const struct remote remote = { child_syscall, task };
	struct tracker *tracker = &round_now.tracker;
	uint64_t start = now_ns();
	struct identity id;

	if (identity_read(task->proc_dir, &id))
		die("the child's stat");
	if (tracker_open(tracker, task->proc_dir, &id, &round_now.kernel, &round_now.parent, "") ||
	    tracker_begin(tracker, &remote) || tracker->uffd < 0 || tracker->trusted != !!round_now.parent.nr)
		die(tracker->why.text);
	round_now.open_ns = now_ns() - start;
	mask_way(task, &(struct answerer){ .snapshot = &tracker->snapshot }, found);
}

static void pagescan_reset(void)
{
	struct tracker_summary summary;

	if (tracker_reset(&round_now.tracker, &round_now.record, &summary))
		die(round_now.tracker.why.text);
}

/* What a tracker would do that knows nothing but CRIU's mask. */
static void protect_all(const struct task *task, int uffd)
{
	const struct pagescan_query query = { .anyof = POPULATED, .excluded = PAGESCAN_PFNZERO | PAGESCAN_FILE };

	for (size_t i = 0; i < task->areas.nr; i++) {
		const struct area *area = &task->areas.v[i];

		if (!is_asked(area))
			continue;
		if ((!round_now.parent.nr && uffd_register(uffd, area->start, area->end)) ||
		    pagescan_protect(task->pagemap_fd, area->start, area->end, &query, NULL))
			die("write-protecting");
	}
}

/* ---- measuring ---- */

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

static const struct shape *find_shape(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		if (!strcmp(shapes[i].name, name))
			return &shapes[i];
	}
	return NULL;
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
