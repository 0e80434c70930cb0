/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * torture.h - the model: what every page of every process must hold, and all else that a process must know.
 *
 * It lies in a MAP_SHARED mapping of a file, which no dump contains, and nothing that a thread decides by lies
 * elsewhere: a process that comes back stale as a whole meets a model that is not. A thread that was frozen within an
 * operation goes on there, with the model as it was at that moment; so pages are compared only by the thread that they
 * belong to, between two of its operations.
 *
 * A page's content follows from its tag. A write draws a tag that no other write has, a file has one of its own, and 0
 * is a page of zeros. A page's place does not matter, so tags move as memory moves. The pages of a file are alike: CRIU
 * lets a child inherit its parent's mapping where place and file are the same, and does not look at the offset.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROCESSES  6
#define THREADS	   4
#define ARENA	   1024 /* pages for mappings of all kinds */
#define STACK	   24	/* pages of an area that grows downwards; below it nothing else lies */
#define HEAP	   64	/* pages from the program break at start to the highest one */
#define PAGES	   (ARENA + STACK + HEAP)
#define FILE_PAGES 256 /* of the file that is mapped, and of the memfd */
#define SCRATCH	   65536

#define TAG_FILE    (1ull << 61) /* of all pages of the file */
#define TAG_MEMFD   (1ull << 62)
#define TAG_OR_ZERO (1ull << 63) /* the kernel was allowed to take the page */
#define ROUND_SHIFT 40		 /* of the round in which a tag was drawn, for whoever looks for a bug */

#define RECENT 256 /* operations that a thread remembers, for the same one */

/* Every operation and its weight. They are in areas.c, advise.c, write.c and process.c. */
/* clang-format off */
#define ALL_OPERATIONS(OP) \
	OP(map_anon, 300) \
	OP(map_file, 200) \
	OP(map_huge, 40) \
	OP(map_shared, 60) \
	OP(unmap, 200) \
	OP(protect, 300) \
	OP(unprotect, 200) \
	OP(hide, 100) \
	OP(move, 200) \
	OP(move_and_keep, 100) \
	OP(resize, 100) \
	OP(heap, 100) \
	OP(drop, 400) \
	OP(punch, 60) \
	OP(give_up, 200) \
	OP(give_up_and_write, 100) \
	OP(advise, 600) \
	OP(collapse, 60) \
	OP(fork_flags, 100) \
	OP(guard, 200) \
	OP(write, 3000) \
	OP(write_alike, 300) \
	OP(write_all, 100) \
	OP(look, 500) \
	OP(grow_stack, 100) \
	OP(read_file, 500) \
	OP(read_direct, 20) \
	OP(read_pipe, 400) \
	OP(receive, 400) \
	OP(force, 400) \
	OP(ask, 400) \
	OP(spawn_process, 60) \
	OP(spawn_thread, 20) \
	OP(end_thread, 20) \
	OP(exec_self, 8)
/* clang-format on */

enum operation {
#define OP(name, weight) OP_##name,
	ALL_OPERATIONS(OP) OPERATIONS
#undef OP
};

enum kind { NOTHING, ANON, DEV_ZERO, PRIVATE_FILE, PRIVATE_MEMFD, SHARED };

enum { WIPE_ON_FORK = 1, DONT_FORK = 2, GUARD = 4 };

/* @want: the tag. @base: the tag that it has again when the page is dropped. @by: the operation that changed it. */
struct page {
	uint64_t want;
	uint64_t base;
	uint8_t kind;
	uint8_t prot;
	uint8_t flags;
	uint8_t by;
};

/* A thread lets a process other than its own write a page of its memory. @force: even where the area is read-only. */
struct request {
	enum { IDLE, OPEN, CLAIMED, DONE } state;
	bool force;
	int error;
	uint64_t addr;
	uint64_t tag;
};

/* What a thread did, and to which pages; @to: where it moved them; @advice: of madvise. */
struct deed {
	uint64_t step;
	uint16_t first;
	uint16_t nr;
	uint16_t to;
	uint8_t advice;
	uint8_t operation;
	bool done;
};

/* A thread's part of the model. It outlives the thread, whose successor goes on with it. */
struct thread {
	enum { ABSENT, RUNNING, ENDED } state;
	uint32_t verified; /* as driver.verify when it last did so */
	bool ending;
	uint64_t random;
	uint64_t steps;
	struct request request;
	struct deed deeds[RECENT];
	struct page pages[PAGES];
};

struct process {
	enum { UNUSED, LIVING } state; /* set by its parent, which reaps it too */
	int parent;
	int pid;
	int last_pid;	    /* of the process that used this before */
	int main;	    /* the number of its main thread */
	bool leaving;	    /* no new threads and processes */
	uint64_t last_step; /* of the main thread, 0 for none */
	uint64_t heap;	    /* the program break at start */
	struct thread threads[THREADS];
};

/* What the driver sees. test/torture/run knows the layout. */
struct driver {
	uint32_t round;
	uint32_t pace;	   /* microseconds that a thread sleeps between two steps */
	uint32_t verify;   /* the number of the verification that is asked for */
	uint32_t verified; /* the last one that everybody has done */
	uint32_t stop;
	uint32_t errors;
	uint64_t steps;
	uint32_t log_used;
	char log[16348];
};

/* Descriptors that all processes have, the lowest ones. */
enum { FD_MODEL = 3, FD_DIRECT, FD_FILE, FD_MEMFD, FDS };

struct model {
	struct driver driver;
	uint64_t last_tag;
	uint64_t seed;
	unsigned int huge; /* pages of a huge page, 0 if there are none of sensible size */
	bool guards;	   /* criu can dump guard regions */
	struct {
		uint32_t done, failed;
	} operations[OPERATIONS];
	struct process processes[PROCESSES];
	uint8_t scratch[PROCESSES][THREADS][SCRATCH] __attribute__((aligned(SCRATCH)));
};

/* The calling thread; each has its own. */
struct self {
	struct process *process;
	struct thread *thread;
	int number;
};

/* model.c: the file, contents, verification */
extern struct model *model;
extern size_t page_size;
void model_open(bool create, bool direct);
void model_report(void);
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t tag_new(void);
void page_fill(void *page, uint64_t tag);
uint8_t *page_addr(const struct self *me, unsigned int page);
uint32_t draw(const struct self *me, uint32_t limit);
void verify(const struct self *me);
void areas_unmap(int number);

/* pages.c: which pages to take */
struct deed *deed_now(const struct self *me);
void deed_is_to(const struct self *me, unsigned int first, unsigned int nr);
bool is_mapped(const struct page *page);
bool is_anonymous(const struct page *page);
bool is_accessible(const struct page *page);
bool is_writable(const struct page *page);
bool is_private(const struct page *page);
unsigned int draw_size(const struct self *me, unsigned int limit);
bool find_run(const struct self *me, bool (*fits)(const struct page *page), unsigned int *first, unsigned int *nr);

/* areas.c */
void areas_init(const struct self *me);

/* write.c */
void write_page(const struct self *me, unsigned int page, enum operation by);
void requests_serve(const struct self *me);

/* process.c */
void process_begin(struct process *process);
bool thread_start(struct process *process, int number, bool fresh);
void live(struct process *process);

/* torture.c */
extern const char *program, *directory;

/* An operation. False: there was nothing that it could have been done to, or the kernel refused. */
#define OP(name, weight) bool op_##name(const struct self *me);
ALL_OPERATIONS(OP)
#undef OP

#endif
