/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * parents.h - what the parent images have: read before the freeze, and told to CRIU in short while all is frozen.
 *
 * CRIU reads the pagemaps of all parents of an image, entry by entry, and asks the next one alone, and only whether it has
 * a page (criu/page-xfer.c, check_pagehole_in_parent). It does so while the tasks are frozen, and the longer a process's
 * first round takes, the more scattered pages its next ones have.
 */
#ifndef PAGESCAN_BIND_PARENTS_H
#define PAGESCAN_BIND_PARENTS_H

#include "image/entries.h"

/* Read all pagemap-PID.img behind the parent link of @dir, an open image directory. What cannot be is read when asked for. */
void parents_read(int dir);

/*
 * What pagemap-@pid.img behind the parent link of @dir, as it is now, holds, merged; parents.c's until parents_forget().
 * Returns 0 or a negative errno (image_entries_read).
 */
int parents_entries(int dir, int pid, const struct image_entries **entries);

/* CRIU has created pagemap-@pid.img: if it opens that of a parent next, it does so to ask about clean pages. */
void parents_expect(int pid);

/* CRIU has opened pagemap-@pid.img in @dir for reading, as @fd. */
void parents_pagemap_opened(int fd, int dir, int pid);

/*
 * CRIU has opened a file of pages in @dir with these flags of open(2): of a pagemap there, which it has open, it reads all
 * entries next. It gets few instead, behind the same descriptor, unless it is about to remove pages from its parents.
 */
void parents_pages_opened(int dir, int flags);

void parents_forget(void);

#endif
