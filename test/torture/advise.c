// SPDX-License-Identifier: GPL-2.0-only
/*
 * advise.c - operations by madvise: those that drop pages, those that change what a fork does, guard regions, and the
 * many that may do nothing one could see.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "torture.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

/* MADV_WIPEONFORK does not take a mapping of /dev/zero. Whether guard regions are wiped is not asked here. */
static bool is_plain(const struct page *page)
{
	return page->kind == ANON && !(page->flags & GUARD);
}

/* CRIU itself looks into executable areas: it borrows the first one for its code, and searches all for the vdso. */
static bool may_be_guarded(const struct page *page)
{
	return is_anonymous(page) && !(page->prot & PROT_EXEC) && !(page->flags & WIPE_ON_FORK);
}

static bool is_guarded(const struct page *page)
{
	return page->flags & GUARD;
}

static bool try_to_advise(const struct self *me, unsigned int first, unsigned int nr, int advice)
{
	deed_now(me)->advice = (uint8_t)advice;
	return !madvise(page_addr(me, first), nr * page_size, advice);
}

static bool advise(const struct self *me, unsigned int first, unsigned int nr, int advice)
{
	if (try_to_advise(me, first, nr, advice))
		return true;
	complain("madvise %d of page %u and %u more: %s", advice, first, nr - 1, strerror(errno));
	return false;
}

bool op_drop(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, is_mapped, &first, &nr) ||
	    !advise(me, first, nr, draw(me, 4) ? MADV_DONTNEED : MADV_DONTNEED_LOCKED))
		return false;
	for (unsigned int i = first; i < first + nr; i++) {
		if (!is_private(&me->thread->pages[i]))
			continue;
		me->thread->pages[i].want = me->thread->pages[i].base;
		me->thread->pages[i].by = OP_drop;
	}
	return true;
}

static bool may_be_punched(const struct page *page)
{
	return page->kind == SHARED && page->prot & PROT_WRITE;
}

/* A hole in shared memory. */
bool op_punch(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, may_be_punched, &first, &nr) || !advise(me, first, nr, MADV_REMOVE))
		return false;
	for (unsigned int i = first; i < first + nr; i++) {
		me->thread->pages[i].want = 0;
		me->thread->pages[i].by = OP_punch;
	}
	return true;
}

static bool give_up(const struct self *me, unsigned int *first, unsigned int *nr, enum operation by)
{
	if (!find_run(me, is_anonymous, first, nr))
		return false;
	/* From the call's first moment on the pages may go. */
	for (unsigned int i = *first; i < *first + *nr; i++) {
		if (me->thread->pages[i].want)
			me->thread->pages[i].want |= TAG_OR_ZERO;
		me->thread->pages[i].by = (uint8_t)by;
	}
	return advise(me, *first, *nr, MADV_FREE);
}

bool op_give_up(const struct self *me)
{
	unsigned int first, nr;

	return give_up(me, &first, &nr, OP_give_up);
}

bool op_give_up_and_write(const struct self *me)
{
	unsigned int first, nr;

	if (!give_up(me, &first, &nr, OP_give_up_and_write))
		return false;
	for (unsigned int i = first; i < first + nr; i += 1 + draw(me, 3)) {
		if (is_writable(&me->thread->pages[i]))
			write_page(me, i, OP_give_up_and_write);
	}
	return true;
}

bool op_advise(const struct self *me)
{
	static const int advices[] = { MADV_NORMAL,	   MADV_RANDOM,		MADV_SEQUENTIAL, MADV_WILLNEED,
				       MADV_COLD,	   MADV_PAGEOUT,	MADV_HUGEPAGE,	 MADV_NOHUGEPAGE,
				       MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_MERGEABLE,	 MADV_UNMERGEABLE,
				       MADV_DONTDUMP,	   MADV_DODUMP };
	unsigned int first, nr;

	if (!find_run(me, is_mapped, &first, &nr))
		return false;
	return try_to_advise(me, first, nr, advices[draw(me, sizeof(advices) / sizeof(*advices))]);
}

bool op_fork_flags(const struct self *me)
{
	static const struct {
		int advice;
		uint8_t flag;
		bool on;
	} choices[] = {
		{ MADV_WIPEONFORK, WIPE_ON_FORK, true },
		{ MADV_KEEPONFORK, WIPE_ON_FORK, false },
		{ MADV_DONTFORK, DONT_FORK, true },
		{ MADV_DOFORK, DONT_FORK, false },
	};
	unsigned int first, nr, choice = draw(me, 4);

	if (!find_run(me, is_plain, &first, &nr) || !advise(me, first, nr, choices[choice].advice))
		return false;
	for (unsigned int i = first; i < first + nr; i++) {
		uint8_t *flags = &me->thread->pages[i].flags;

		*flags = choices[choice].on ? *flags | choices[choice].flag : *flags & ~choices[choice].flag;
	}
	return true;
}

bool op_guard(const struct self *me)
{
	bool install = draw(me, 2);
	unsigned int first, nr;

	if (!model->guards || !find_run(me, install ? may_be_guarded : is_guarded, &first, &nr) ||
	    !advise(me, first, nr, install ? MADV_GUARD_INSTALL : MADV_GUARD_REMOVE))
		return false;
	for (unsigned int i = first; i < first + nr; i++) {
		struct page *page = &me->thread->pages[i];

		page->flags = install ? page->flags | GUARD : page->flags & ~GUARD;
		page->want = page->base;
		page->by = OP_guard;
	}
	return true;
}
