/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * landing.h - a process tree's memory, taken out of rounds of images ahead of time, and laid where CRIU wants it.
 *
 * fill.c loads rounds and makes the pool agree with the last images; place.c gives the memory to the tasks that CRIU
 * forks. A page is given only if the image file, the offset and the address that CRIU asks for are those that it was
 * read from, so a landing can be no other than what CRIU would have read. One thread.
 */
#ifndef PAGESCAN_LAND_LANDING_H
#define PAGESCAN_LAND_LANDING_H

#include <sys/types.h>
#include <sys/uio.h>

#include "image/read.h"
#include "pool.h"
#include "track/reason.h"

/* The pages of a task in a round: which file they were read from, and what lies where in it. */
struct landing_source {
	int pid;
	unsigned int round;
	dev_t dev;
	ino_t ino;
	struct image_runs runs;
};

/* An area as CRIU maps it for a task in advance: @size bytes, @offset bytes into the region that it reserves. */
struct landing_area {
	struct image_area image;
	uint64_t offset;
	uint64_t size;
	bool plain; /* what the pool can hold */
	bool placed;
};

/*
 * A task in the last images. @here: its memory is in this process. @size: of the region that CRIU reserves; @next: the
 * area that it will map next.
 */
struct landing_task {
	int pid;
	bool here;
	struct landing_area *areas;
	size_t nr;
	size_t next;
	uint64_t size;
	uint64_t region;
};

/*
 * Initialise with zeros. @paths: of each round's directory. @verify: compare what is given with the images. @mark: a byte
 * that a fork which nobody told us of sets to 0 in the child; then nothing is here.
 */
struct landing {
	struct pool pool;
	unsigned int rounds;
	char *paths[POOL_ROUNDS + 1];
	struct landing_source *sources;
	size_t nr_sources;
	struct image_tree tree;
	struct landing_task *tasks;
	size_t nr_tasks;
	unsigned char *mark;
	bool verify;
};

/*
 * Load the round in the directory @path, which follows those before, and fold it (fold.h): its images, and those of the
 * rounds before, are changed. *bytes: what the pool holds then. Returns 0 or a negative errno with @why; the landing is
 * empty then, and stays so: -ENOMEM if there is not enough memory in the machine, too.
 */
int landing_load(struct landing *landing, const char *path, uint64_t *bytes, struct reason *why);

/* The pages of the task @pid in a round, the landing's own; NULL: it was not in that round. */
const struct landing_source *landing_source(const struct landing *landing, int pid, unsigned int round);

/*
 * The last images are complete in @path: load them, too, where something is held ready, and drop what they do not have.
 * Returns 0 or a negative errno with @why, as above.
 */
int landing_settle(struct landing *landing, const char *path, struct reason *why);

/*
 * The task @pid is about to be forked: its memory and its descendants' shall go with it. Then in the parent and in the
 * child respectively. A fork that failed is followed by neither.
 */
void landing_fork(struct landing *landing, int pid);
void landing_fork_parent(struct landing *landing, int pid);
void landing_fork_child(struct landing *landing, int pid);

/*
 * In the task @pid, which is forked: CRIU reserves a region of @size bytes for its private areas. Returns the region,
 * reserved, where huge pages can stay whole; NULL: let it be reserved as usual.
 */
void *landing_region(struct landing *landing, int pid, size_t size);

/*
 * In the task: CRIU maps an area of @size bytes at @addr in the region, with mmap(2)'s @prot and @flags. Returns @addr
 * if the pool's memory is there now; NULL: map it as usual. @why is filled in if that is a pity.
 */
void *landing_area(struct landing *landing, int pid, void *addr, size_t size, int prot, int flags, struct reason *why);

/* In the task: CRIU lays an area that it shares with its parent at @addr by itself. */
void landing_skip_area(struct landing *landing, int pid, void *addr, size_t size);

/*
 * In the task: preadv(2), less those bytes that are where they shall be already. Counts @spared bytes. Returns as preadv
 * does, with errno; EUCLEAN: with @verify, memory that differs from the images.
 */
ssize_t landing_preadv(struct landing *landing, int pid, int fd, const struct iovec *vec, int nr, off_t offset,
		       uint64_t *spared);

/*
 * In the task, which maps something at @addr: outside of the region it does when it has its pages, for the restorer
 * (criu/cr-restore.c, sigreturn_restore). Returns whether that is so; @what is then what was held ready, @spared bytes
 * having been counted.
 */
bool landing_summary(struct landing *landing, int pid, const void *addr, uint64_t spared, struct reason *what);

/* How the pool has to map an area (POOL_*) for CRIU to find it as it would have mapped it. Pure. */
unsigned int landing_kind(const struct image_area *area);

/* Forget and unmap everything. */
void landing_fini(struct landing *landing);

#endif
