// SPDX-License-Identifier: GPL-2.0-only
/*
 * pages.c - which pages an operation takes: runs of random length in which all pages are of the kind that it needs.
 */
#include <sys/mman.h>

#include "torture.h"

struct deed *deed_now(const struct self *me)
{
	return &me->thread->deeds[me->thread->steps % RECENT];
}

void deed_is_to(const struct self *me, unsigned int first, unsigned int nr)
{
	struct deed *deed = deed_now(me);

	deed->first = deed->to = (uint16_t)first;
	deed->nr = (uint16_t)nr;
}

/* Mostly small, sometimes large. */
unsigned int draw_size(const struct self *me, unsigned int limit)
{
	static const unsigned int limits[] = { 4, 8, 8, 32, 32, 128, 512 };
	unsigned int nr = 1 + draw(me, limits[draw(me, sizeof(limits) / sizeof(*limits))]);

	return nr < limit ? nr : limit;
}

bool is_mapped(const struct page *page)
{
	return page->kind != NOTHING;
}

bool is_accessible(const struct page *page)
{
	return is_mapped(page) && !(page->flags & GUARD);
}

bool is_writable(const struct page *page)
{
	return is_accessible(page) && page->prot & PROT_WRITE;
}

bool is_private(const struct page *page)
{
	return is_mapped(page) && page->kind != SHARED;
}

bool is_anonymous(const struct page *page)
{
	return page->kind == ANON || page->kind == DEV_ZERO;
}

static unsigned int zone_end(unsigned int page)
{
	return page < ARENA ? ARENA : page < ARENA + STACK ? ARENA + STACK : PAGES;
}

/* Some pages in a row that all fit. */
bool find_run(const struct self *me, bool (*fits)(const struct page *page), unsigned int *first, unsigned int *nr)
{
	const struct page *pages = me->thread->pages;
	unsigned int start = draw(me, PAGES), limit = draw_size(me, PAGES), tried = 0;

	while (!fits(&pages[start])) {
		start = (start + 1) % PAGES;
		if (++tried == PAGES)
			return false;
	}
	*first = start;
	for (*nr = 1; *nr < limit && start + *nr < zone_end(start) && fits(&pages[start + *nr]); ++*nr)
		;
	deed_is_to(me, *first, *nr);
	return true;
}
