/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * smaps.h - spare a frozen task the price of smaps in a pre-dump.
 *
 * The kernel walks all page tables to print smaps; CRIU takes the areas and their VmFlags from it and nothing else. So
 * the flags are read before the freeze, and while the task is frozen CRIU gets them with the areas of a fresh maps,
 * which costs no walk. A final dump gets the real file: its images describe the areas, a pre-dump's hold pages only.
 * Why that is safe is told in smaps.c.
 */
#ifndef PAGESCAN_BIND_SMAPS_H
#define PAGESCAN_BIND_SMAPS_H

#include "track/identity.h"

/*
 * Read the flags of @pid and all its descendants, which still run. Forgets those of an earlier call. A task that cannot
 * be read is left out: it gets the real file.
 */
void smaps_read_ahead(int pid);

/*
 * The content of smaps for the frozen task @id, whose maps say @maps now, as far as CRIU reads it: a descriptor at its
 * beginning, the caller's, or -1 if the real file has to be read.
 */
int smaps_open(const struct identity *id, const char *maps);

/* Forget what was read. */
void smaps_forget(void);

#endif
