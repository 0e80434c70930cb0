/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pages.h - what the parts of `pages` share: shapes (the memory), ways (to find its pages), plugin_way (this project's),
 * pages (which times them).
 */
#ifndef PAGESCAN_BENCH_PAGES_H
#define PAGESCAN_BENCH_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "track/tracker.h"

#define PAGE 4096UL

/* criu/pagemap-cache.c */
#define CRIU_VEC_LEN 32768
#define CRIU_WINDOW  (2UL << 20)

#define POPULATED (PAGESCAN_PRESENT | PAGESCAN_SWAPPED)

/* End with errno's message. */
void die(const char *what) __attribute__((noreturn));

/* Memory of one's own, or none of it: then it ends. */
void *map(size_t bytes, int flags, int fd);

/* The time of this thread alone, none of which it spends asleep: others on the machine are not measured. */
uint64_t now_ns(void);

/* Known to bench/run. READY: the memory is made, and its number of pages; WRITE: @a pages in runs of @b. */
enum op { READY, WRITE, SYSCALL };

struct request {
	uint64_t op;
	uint64_t a;
	uint64_t b;
};

/* NULL: there is no such shape. */
const struct shape *find_shape(const char *name);

/* Make the memory and do what is asked until nobody asks any more. */
void serve(const struct shape *shape, uint64_t mib, int in, int out);

/* The process that has the memory, seen from outside. */
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
struct bench_round {
	uint64_t open_ns;
	struct pagescan_kernel kernel;
	struct epoch_record record;
	struct epoch_image parent;
	struct tracker tracker;
};
extern struct bench_round round_now;

/* Have the child do something; its answer. */
int64_t ask_child(const struct task *task, enum op op, uint64_t a, uint64_t b);

/* What a way found. The lists are kept in the untimed run only; @dirty is filled by the ways that can tell. */
struct found {
	uint64_t pages;
	uint64_t swapped;
	bool keep;
	struct pagescan_regions all;
	struct pagescan_regions dirty;
};

void found_fini(struct found *found);

/* CRIU dumps pages of private memory; what is not readable it cannot reach. */
bool is_asked(const struct area *area);

/* Who is asked for the pages of a window: the kernel, or this project's snapshot. */
struct answerer {
	int pagemap_fd;
	struct snapshot *snapshot; /* NULL: the kernel */
};

/* The ways, each from reading the areas on; mask_way() is what two of them have in common. */
void mask_way(const struct task *task, const struct answerer *from, struct found *found);
void pagemap_way(struct task *task, struct found *found);
void criu_mask_way(struct task *task, struct found *found);
void pagescan_way(struct task *task, struct found *found);

/* The next round by the tracker; by CRIU's mask alone; and no round was ever taken. */
void pagescan_reset(void);
void protect_all(const struct task *task, int uffd);
void keeper_forget(void);

#endif
