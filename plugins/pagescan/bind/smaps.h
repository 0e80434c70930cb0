/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * smaps.h - spare a frozen task the price of smaps.
 *
 * The kernel counts the pages of every area to print smaps; CRIU takes the areas and their VmFlags from it and nothing
 * else. So while the task is frozen CRIU gets the areas of a fresh maps, which costs no walk, and the flags as a BPF
 * iterator has them. Where there is none (no CAP_BPF, no BTF), a pre-dump gets flags that were read before the freeze,
 * and a final dump the real file: its images describe the areas, a pre-dump's hold pages only. Why all that is safe is told
 * in smaps.c.
 */
#ifndef PAGESCAN_BIND_SMAPS_H
#define PAGESCAN_BIND_SMAPS_H

#include <stdbool.h>

#include "track/identity.h"

/*
 * @pid, the root of a tree, still runs, and is frozen next. Forgets an earlier call. With @pre_dump the flags of all of the
 * tree may be read now. A task that cannot be read is left out: it gets the real file. Returns 0, or why flags cannot be
 * had from the frozen tasks, as a negative errno.
 */
int smaps_prepare(int pid, bool pre_dump);

/*
 * The content of smaps for the frozen task @id, whose maps say @maps now, as far as CRIU reads it: a descriptor at its
 * beginning, the caller's, or -1 if the real file has to be read.
 */
int smaps_open(const struct identity *id, const char *maps);

/* Forget what was read and made ready. */
void smaps_forget(void);

#endif
