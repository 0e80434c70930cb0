// SPDX-License-Identifier: GPL-2.0-only
/*
 * place.c - in the tasks that CRIU forks: the pool's memory where CRIU maps its own. Calls pool, the kernel.
 *
 * CRIU lays a task's private areas one behind the other into a region that it reserves, reads their pages, and moves
 * each to its address in the end (criu/mem.c, prepare_mappings; criu/pie/restorer.c, vma_remap). A huge page survives
 * both moves, and page tables are moved as a whole, if all three addresses are congruent. The pool's are to the last;
 * the region is laid so that it is for the areas that hold most.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagescan.h>

#include "huge.h"
#include "landing.h"

#define GIB (1UL << 30)

/* Memory that is not inherited leaves addresses where something else may be: a child that we do not know has nothing. */
static struct landing_task *task_of(struct landing *landing, int pid)
{
	for (size_t i = 0; i < landing->nr_tasks && *landing->mark; i++) {
		if (landing->tasks[i].pid == pid)
			return &landing->tasks[i];
	}
	return NULL;
}

/* Is @pid the task @root or one of its descendants? */
static bool is_below(const struct landing *landing, int pid, int root)
{
	size_t steps = landing->tree.nr;

	while (pid && pid != root && steps--) {
		int parent = 0;

		for (size_t i = 0; i < landing->tree.nr; i++) {
			if (landing->tree.v[i].pid == pid)
				parent = landing->tree.v[i].parent;
		}
		pid = parent;
	}
	return pid == root;
}

void landing_fork(struct landing *landing, int pid)
{
	for (size_t i = 0; i < landing->nr_tasks; i++) {
		struct landing_task *task = &landing->tasks[i];

		if (task->here && is_below(landing, task->pid, pid))
			pool_inherit(pool_task(&landing->pool, task->pid, false), true);
	}
}

void landing_fork_parent(struct landing *landing, int pid)
{
	for (size_t i = 0; i < landing->nr_tasks; i++) {
		struct landing_task *task = &landing->tasks[i];

		if (!task->here || !is_below(landing, task->pid, pid))
			continue;
		pool_let_go(pool_task(&landing->pool, task->pid, false));
		task->here = false;
	}
}

void landing_fork_child(struct landing *landing, int pid)
{
	if (landing->mark)
		*landing->mark = 1;
	for (size_t i = 0; i < landing->nr_tasks; i++) {
		struct landing_task *task = &landing->tasks[i];

		task->here = task->here && is_below(landing, task->pid, pid);
		/* What is its children's goes to them, when they are forked, and nowhere else. */
		if (task->here && task->pid != pid)
			pool_inherit(pool_task(&landing->pool, task->pid, false), false);
	}
}

static uint64_t bytes_of(const struct pool_task *pool, const struct landing_area *area)
{
	const uint64_t end = area->image.end;
	uint64_t bytes = 0, stop;

	for (uint64_t at = area->plain ? pool_next(pool, area->image.start, end) : end; at < end;
	     at = pool_next(pool, stop, end)) {
		stop = pool_next_without(pool, at, end);
		bytes += stop - at;
	}
	return bytes;
}

/* The area that the region shall be congruent to: the largest of those that most bytes are congruent with. */
static const struct landing_area *choose(const struct landing_task *task, const struct pool_task *pool)
{
	uint64_t *bytes = calloc(task->nr + 1, sizeof(*bytes));
	const struct landing_area *best = NULL;
	uint64_t most = 0;

	for (size_t i = 0; bytes && i < task->nr; i++)
		bytes[i] = bytes_of(pool, &task->areas[i]);
	for (size_t i = 0; bytes && i < task->nr; i++) {
		const struct landing_area *area = &task->areas[i];
		uint64_t sum = bytes[i];

		for (size_t j = 0; bytes[i] >= HUGE_BYTES && j < task->nr; j++) {
			const struct landing_area *other = &task->areas[j];
			const uint64_t apart =
				(area->image.start - area->offset) - (other->image.start - other->offset);

			/* The largest one counts double, to be preferred among those of one class. */
			sum += apart % HUGE_BYTES ? 0 : bytes[j];
		}
		if (bytes[i] >= HUGE_BYTES && sum > most) {
			most = sum;
			best = area;
		}
	}
	free(bytes);
	return best;
}

void *landing_region(struct landing *landing, int pid, size_t size)
{
	struct landing_task *task = task_of(landing, pid);
	const struct landing_area *like;
	uint64_t at, spare, head;

	if (!task || !task->here || task->region || size != task->size)
		return NULL;
	like = choose(task, pool_task(&landing->pool, pid, false));
	spare = size >= GIB ? GIB : HUGE_BYTES;
	at = (uint64_t)mmap(NULL, size + spare, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0);
	if (at == (uint64_t)MAP_FAILED)
		return NULL;
	head = like ? (like->image.start - like->offset - at) % spare : 0;
	if (head)
		munmap((void *)at, head);
	munmap((void *)(at + head + size), spare - head);
	task->region = at + head;
	return (void *)task->region;
}

/* The area that CRIU maps now, if it is what the images make us expect. */
static struct landing_area *expected(struct landing_task *task, const void *addr, size_t size)
{
	struct landing_area *area = task && task->region && task->next < task->nr ? &task->areas[task->next] : NULL;

	if (!area || (uint64_t)addr != task->region + area->offset)
		return NULL;
	task->next++;
	return area->size == size ? area : NULL;
}

void landing_skip_area(struct landing *landing, int pid, void *addr, size_t size)
{
	(void)expected(task_of(landing, pid), addr, size);
}

unsigned int landing_kind(const struct image_area *area)
{
	return (area->flags & MAP_NORESERVE ? POOL_NORESERVE : 0) |
	       (area->madv & (1UL << MADV_HUGEPAGE) ? POOL_HUGEPAGE : 0);
}

void *landing_area(struct landing *landing, int pid, void *addr, size_t size, int prot, int flags, struct reason *why)
{
	struct landing_area *area = expected(task_of(landing, pid), addr, size);
	const struct image_area *image = area ? &area->image : NULL;
	void *here;

	if (!area || !area->plain || prot != (int)(image->prot | PROT_WRITE) ||
	    flags != (int)(image->flags | MAP_FIXED))
		return NULL;
	here = pool_find(pool_task(&landing->pool, pid, false), image->start, image->end, landing_kind(image));
	if (!here) {
		reason_set(why, 0, "the area at %lx of %d does not lie in one piece: it is read again", image->start,
			   pid);
		return NULL;
	}
	if (mremap(here, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, addr) == MAP_FAILED) {
		reason_set(why, 0, "the area at %lx of %d cannot be moved (%s): it is read again", image->start, pid,
			   strerror(errno));
		return NULL;
	}
	/* If this fails CRIU maps another one over it, and reads it. */
	if (prot != (PROT_READ | PROT_WRITE) && mprotect(addr, size, prot) < 0)
		return NULL;
	area->placed = true;
	return addr;
}

bool landing_summary(struct landing *landing, int pid, const void *addr, uint64_t spared, struct reason *what)
{
	const struct landing_task *task = task_of(landing, pid);
	size_t placed = 0, left = 0;

	if (!task || !task->region || (uint64_t)addr - task->region < task->size)
		return false;
	for (size_t i = 0; i < task->nr; i++) {
		placed += task->areas[i].placed;
		left += task->areas[i].plain && !task->areas[i].placed;
	}
	reason_set(what, 0, "%d: %lu KiB in %zu areas were held ready; %zu more areas are laid by criu", pid,
		   spared >> 10, placed, left);
	return true;
}

static const struct landing_source *source_of(const struct landing *landing, int pid, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	for (size_t i = 0; i < landing->nr_sources; i++) {
		const struct landing_source *source = &landing->sources[i];

		if (source->pid == pid && source->dev == st.st_dev && source->ino == st.st_ino)
			return source;
	}
	return NULL;
}

/*
 * A piece from the beginning of [to, to + len) of which all bytes need no reading from @offset of @source; or, with *spare
 * false, all need it. Returns its length: at least a page; @len is no less.
 */
static size_t run_at(const struct landing *landing, const struct landing_task *task,
		     const struct landing_source *source, uint64_t to, size_t len, uint64_t offset, bool *spare)
{
	const struct pool_task *pool = pool_task((struct pool *)&landing->pool, task->pid, false);
	const struct landing_area *area = NULL;
	const struct image_run *run;
	uint64_t addr;
	size_t i;

	*spare = false;
	for (i = 0; i < task->nr && !area; i++) {
		if (task->areas[i].placed && to - (task->region + task->areas[i].offset) < task->areas[i].size)
			area = &task->areas[i];
	}
	if (!area)
		return len;
	addr = area->image.start + (to - (task->region + area->offset));
	if (len > area->image.end - addr)
		len = area->image.end - addr;
	i = image_runs_find(&source->runs, addr);
	run = i < source->runs.nr && source->runs.v[i].start <= addr ? &source->runs.v[i] : NULL;
	if (!run || run->in_parent || run->offset + (addr - run->start) != offset)
		return len;
	if (len > run->end - addr)
		len = run->end - addr;
	*spare = pool_round(pool, addr) == source->round;
	return pool_same_round(pool, addr, addr + len) - addr;
}

/* Is what lies at @to what @fd has at @offset? */
static bool is_equal(int fd, const unsigned char *to, size_t len, off_t offset)
{
	unsigned char buffer[16384];

	while (len) {
		const size_t part = len < sizeof(buffer) ? len : sizeof(buffer);

		if (pread(fd, buffer, part, offset) != (ssize_t)part || memcmp(buffer, to, part) != 0)
			return false;
		to += part;
		len -= part;
		offset += (off_t)part;
	}
	return true;
}

/* One piece: as pread(2). */
static ssize_t read_piece(struct landing *landing, int fd, unsigned char *to, size_t len, off_t offset, bool spare,
			  uint64_t *spared)
{
	if (!spare)
		return pread(fd, to, len, offset);
	if (landing->verify && !is_equal(fd, to, len, offset)) {
		errno = EUCLEAN;
		return -1;
	}
	*spared += len;
	return (ssize_t)len;
}

ssize_t landing_preadv(struct landing *landing, int pid, int fd, const struct iovec *vec, int nr, off_t offset,
		       uint64_t *spared)
{
	const struct landing_task *task = task_of(landing, pid);
	const struct landing_source *source = task ? source_of(landing, pid, fd) : NULL;
	ssize_t all = 0;

	if (!source)
		return preadv(fd, vec, nr, offset);
	for (int i = 0; i < nr; i++) {
		for (size_t at = 0, len; at < vec[i].iov_len; at += len) {
			unsigned char *to = (unsigned char *)vec[i].iov_base + at;
			bool spare;
			ssize_t got;

			len = run_at(landing, task, source, (uint64_t)to, vec[i].iov_len - at, (uint64_t)(offset + all),
				     &spare);
			got = read_piece(landing, fd, to, len, offset + all, spare, spared);
			if (got < 0 && (!all || errno == EUCLEAN))
				return -1;
			if (got > 0)
				all += got;
			if (got != (ssize_t)len)
				return all;
		}
	}
	return all;
}
