// SPDX-License-Identifier: GPL-2.0-only
/*
 * areas.c - operations that change what is mapped where and how: mmap, munmap, mremap, mprotect, madvise, brk. An
 * operation that the kernel may refuse half done ends with the memory in question unmapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torture.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static const int protections[] = {
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ,
	PROT_WRITE,
#ifndef __aarch64__
	PROT_EXEC, /* CRIU's parasite keeps arguments in executable areas, and arm64 does not let it read them there. */
#endif
	PROT_NONE,
	PROT_READ | PROT_EXEC,
	PROT_READ | PROT_WRITE | PROT_EXEC,
};

static int draw_protection(const struct self *me)
{
	return protections[draw(me, sizeof(protections) / sizeof(*protections))];
}

/* Do two neighbours look like one area? The kernel may know better. */
static bool is_alike(const struct page *page)
{
	const struct page *next = page + 1;

	return page->kind == next->kind && page->prot == next->prot && (page->flags & ~GUARD) == (next->flags & ~GUARD);
}

/* Pages in the arena that make up one area or a part of one. */
static bool find_area(const struct self *me, unsigned int *first, unsigned int *nr)
{
	const struct page *pages = me->thread->pages;
	unsigned int all;

	if (!find_run(me, is_mapped, first, &all) || *first >= ARENA)
		return false;
	for (*nr = 1; *nr < all && is_alike(&pages[*first + *nr - 1]); ++*nr)
		;
	return true;
}

static void set(const struct self *me, unsigned int first, unsigned int nr, struct page to)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct page *page = &me->thread->pages[first + i];

		*page = to;
		page->want = to.base;
	}
}

static void unmap(const struct self *me, unsigned int first, unsigned int nr, enum operation by)
{
	if (munmap(page_addr(me, first), nr * page_size))
		complain("munmap: %s", strerror(errno));
	set(me, first, nr, (struct page){ .by = (uint8_t)by });
}

static bool map(const struct self *me, unsigned int first, unsigned int nr, struct page to, int flags, size_t offset)
{
	static const int fds[] = { [ANON] = -1, [PRIVATE_FILE] = FD_FILE, [PRIVATE_MEMFD] = FD_MEMFD, [SHARED] = -1 };
	int fd = to.kind == DEV_ZERO ? open("/dev/zero", O_RDWR | O_CLOEXEC) : fds[to.kind];
	void *addr = page_addr(me, first);
	bool done;

	deed_is_to(me, first, nr);
	flags |= MAP_FIXED | (to.kind == SHARED ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
	done = mmap(addr, nr * page_size, to.prot, flags, fd, (off_t)(offset * page_size)) == addr;
	if (!done)
		complain("mmap of kind %d: %s", to.kind, strerror(errno));
	if (to.kind == DEV_ZERO)
		close(fd);
	if (done)
		set(me, first, nr, to);
	return done;
}

static bool map_stack(const struct self *me)
{
	const struct page to = { .kind = ANON, .prot = PROT_READ | PROT_WRITE, .by = OP_grow_stack };

	return map(me, ARENA + STACK - 1, 1, to, MAP_GROWSDOWN, 0);
}

void areas_init(const struct self *me)
{
	void *heap = (void *)me->process->heap;

	areas_unmap(me->number);
	memset(me->thread->pages, 0, sizeof(me->thread->pages));
	/* A fork beside a brk may have got the new areas with the old break: the kernel copies that first. */
	if (!me->number && (brk(heap) || munmap(heap, HEAP * page_size)))
		complain("brk: %s", strerror(errno));
	map_stack(me);
	map(me, 0, ARENA / 2, (struct page){ .kind = ANON, .prot = PROT_READ | PROT_WRITE }, 0, 0);
}

static int draw_flags(const struct self *me)
{
	return (draw(me, 4) ? 0 : MAP_NORESERVE) | (draw(me, 4) ? 0 : MAP_POPULATE);
}

bool op_map_anon(const struct self *me)
{
	unsigned int first = draw(me, ARENA), nr = draw_size(me, ARENA - first);
	const struct page to = { .kind = draw(me, 6) ? ANON : DEV_ZERO,
				 .prot = draw_protection(me),
				 .by = OP_map_anon };

	return map(me, first, nr, to, draw_flags(me), 0);
}

bool op_map_file(const struct self *me)
{
	unsigned int first = draw(me, ARENA), offset = draw(me, FILE_PAGES), nr = draw_size(me, ARENA - first);
	bool memfd = draw(me, 2);
	const struct page to = { .kind = memfd ? PRIVATE_MEMFD : PRIVATE_FILE,
				 .base = memfd ? TAG_MEMFD : TAG_FILE,
				 .prot = draw_protection(me),
				 .by = OP_map_file };

	return map(me, first, nr < FILE_PAGES - offset ? nr : FILE_PAGES - offset, to, draw_flags(me), offset);
}

/* A child that had it, too, would write to what the model takes for its parent's. */
bool op_map_shared(const struct self *me)
{
	unsigned int first = draw(me, ARENA), nr = draw_size(me, ARENA - first);
	const struct page to = {
		.kind = SHARED, .prot = draw_protection(me) & ~PROT_EXEC, .flags = DONT_FORK, .by = OP_map_shared
	};

	if (!map(me, first, nr, to, draw_flags(me), 0))
		return false;
	if (madvise(page_addr(me, first), nr * page_size, MADV_DONTFORK))
		complain("MADV_DONTFORK of shared memory: %s", strerror(errno));
	return true;
}

bool op_map_huge(const struct self *me)
{
	const struct page to = { .kind = ANON, .prot = PROT_READ | PROT_WRITE, .by = OP_map_huge };
	unsigned int first, nr = model->huge;

	if (!nr)
		return false;
	first = draw(me, ARENA / nr) * nr;
	if (!map(me, first, nr, to, 0, 0))
		return false;
	madvise(page_addr(me, first), nr * page_size, MADV_HUGEPAGE);
	for (unsigned int i = draw(me, nr); i < nr; i += 1 + draw(me, 8))
		write_page(me, first + i, OP_map_huge);
	return true;
}

bool op_collapse(const struct self *me)
{
	unsigned int first, nr = model->huge;

	if (!nr)
		return false;
	first = draw(me, ARENA / nr) * nr;
	deed_is_to(me, first, nr);
	return !madvise(page_addr(me, first), nr * page_size, MADV_COLLAPSE);
}

bool op_unmap(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, is_mapped, &first, &nr) || first >= ARENA)
		return false;
	unmap(me, first, nr, OP_unmap);
	return true;
}

static void protect(const struct self *me, unsigned int first, unsigned int nr, int prot)
{
	if (mprotect(page_addr(me, first), nr * page_size, prot))
		complain("mprotect: %s", strerror(errno));
}

static void set_protection(const struct self *me, unsigned int first, unsigned int nr, int prot)
{
	protect(me, first, nr, prot);
	for (unsigned int i = first; i < first + nr; i++)
		me->thread->pages[i].prot = (uint8_t)prot;
}

/* As in advise.c no guard pages, and nothing that ptrace cannot write: CRIU puts its code into the first such area. */
static bool may_be_executable(const struct page *page)
{
	return is_accessible(page) && is_private(page);
}

bool op_protect(const struct self *me)
{
	int prot = draw_protection(me);
	unsigned int first, nr;

	if (!find_run(me, prot & PROT_EXEC ? may_be_executable : is_mapped, &first, &nr))
		return false;
	set_protection(me, first, nr, prot);
	return true;
}

static bool is_unwritable(const struct page *page)
{
	return is_mapped(page) && !(page->prot & PROT_WRITE);
}

bool op_unprotect(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, is_unwritable, &first, &nr))
		return false;
	set_protection(me, first, nr, PROT_READ | PROT_WRITE);
	return true;
}

/* Out of reach for a moment, in which CRIU may want to read it. */
bool op_hide(const struct self *me)
{
	const struct page *pages = me->thread->pages;
	unsigned int first, nr;

	if (!find_run(me, is_mapped, &first, &nr))
		return false;
	protect(me, first, nr, PROT_NONE);
	usleep(draw(me, 3000));
	for (unsigned int i = first; i < first + nr; i++) {
		if (pages[i].prot != PROT_NONE)
			protect(me, i, 1, pages[i].prot);
	}
	return true;
}

/* New pages at [from, to) that continue those before them. Files do not grow beyond their end. */
static void extend(const struct self *me, unsigned int from, unsigned int to, enum operation by)
{
	struct page page = me->thread->pages[from - 1];

	page.flags &= ~GUARD;
	page.by = (uint8_t)by;
	set(me, from, to - from, page);
}

static unsigned int draw_new_size(const struct self *me, unsigned int first, unsigned int nr)
{
	return 1 + draw(me, is_anonymous(&me->thread->pages[first]) ? 2 * nr : nr);
}

/* A place for @nr pages beside those that are to be moved there. */
static bool find_place(const struct self *me, unsigned int first, unsigned int nr_first, unsigned int nr,
		       unsigned int *place)
{
	*place = draw(me, ARENA - nr + 1);
	return *place >= first + nr_first || *place + nr <= first;
}

static bool remap(const struct self *me, unsigned int first, unsigned int nr, unsigned int place, unsigned int nr_new,
		  int flags)
{
	void *addr = page_addr(me, place);

	deed_is_to(me, first, nr > nr_new ? nr : nr_new);
	deed_now(me)->to = (uint16_t)place;
	return mremap(page_addr(me, first), nr * page_size, nr_new * page_size, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		      addr) == addr;
}

bool op_move(const struct self *me)
{
	struct page *pages = me->thread->pages;
	unsigned int first, nr, nr_new, place;

	if (!find_area(me, &first, &nr))
		return false;
	nr_new = draw(me, 2) ? nr : draw_new_size(me, first, nr);
	if (!find_place(me, first, nr, nr_new, &place))
		return false;
	if (!remap(me, first, nr, place, nr_new, 0)) {
		unmap(me, first, nr, OP_move);
		unmap(me, place, nr_new, OP_move);
		return false;
	}
	for (unsigned int i = 0; i < nr && i < nr_new; i++) {
		pages[place + i] = pages[first + i];
		pages[place + i].by = OP_move;
	}
	if (nr_new > nr)
		extend(me, place + nr, place + nr_new, OP_move);
	set(me, first, nr, (struct page){ .by = OP_move });
	return true;
}

/*
 * MREMAP_DONTUNMAP: the pages move, the area stays. Shared ones would be there twice. Memory that KSM may merge is
 * taken from it first: where several areas are moved by one call, a kernel loses those before it (docs/trust.md, seed 5055).
 */
bool op_move_and_keep(const struct self *me)
{
	struct page *pages = me->thread->pages;
	unsigned int first, nr, place;

	if (!find_area(me, &first, &nr) || !is_private(&pages[first]) || !find_place(me, first, nr, nr, &place) ||
	    madvise(page_addr(me, first), nr * page_size, MADV_UNMERGEABLE))
		return false;
	if (!remap(me, first, nr, place, nr, MREMAP_DONTUNMAP)) {
		unmap(me, first, nr, OP_move_and_keep);
		unmap(me, place, nr, OP_move_and_keep);
		return false;
	}
	for (unsigned int i = 0; i < nr; i++) {
		struct page *from = &pages[first + i];

		pages[place + i] = *from;
		from->want = from->base;
		from->flags &= ~GUARD;
		from->by = pages[place + i].by = OP_move_and_keep;
	}
	return true;
}

/* In place. The kernel refuses where what looks like one area is two. */
bool op_resize(const struct self *me)
{
	struct page *pages = me->thread->pages;
	unsigned int first, nr, nr_new;

	if (!find_area(me, &first, &nr))
		return false;
	nr_new = draw_new_size(me, first, nr);
	deed_is_to(me, first, nr > nr_new ? nr : nr_new);
	for (unsigned int i = nr; i < nr_new; i++) {
		if (first + i == ARENA || is_mapped(&pages[first + i]))
			nr_new = i;
	}
	if (mremap(page_addr(me, first), nr * page_size, nr_new * page_size, 0) == MAP_FAILED)
		return false;
	if (nr_new > nr)
		extend(me, first + nr, first + nr_new, OP_resize);
	else
		set(me, first + nr_new, nr - nr_new, (struct page){ .by = OP_resize });
	return true;
}

bool op_heap(const struct self *me)
{
	const struct page fresh = { .kind = ANON, .prot = PROT_READ | PROT_WRITE, .by = OP_heap };
	const unsigned int first = ARENA + STACK, new = draw(me, HEAP + 1);
	unsigned int old;

	if (me->number)
		return false;
	old = (unsigned int)(((uintptr_t)sbrk(0) - me->process->heap) / page_size);
	if (brk((uint8_t *)me->process->heap + new *page_size)) {
		complain("brk: %s", strerror(errno));
		return false;
	}
	if (new > old)
		set(me, first + old, new - old, fresh);
	else
		set(me, first + new, old - new, (struct page){ .by = OP_heap });
	return true;
}

/* Grow the area by touching the page below it, or begin anew. */
bool op_grow_stack(const struct self *me)
{
	struct page *pages = me->thread->pages;
	unsigned int lowest = ARENA;

	while (lowest < ARENA + STACK && !is_mapped(&pages[lowest]))
		lowest++;
	if (lowest == ARENA || lowest == ARENA + STACK) {
		unmap(me, ARENA, STACK, OP_grow_stack);
		return map_stack(me);
	}
	if (!is_writable(&pages[lowest]))
		return false;
	pages[lowest - 1] = pages[lowest];
	pages[lowest - 1].flags &= ~GUARD;
	write_page(me, lowest - 1, OP_grow_stack);
	return true;
}
