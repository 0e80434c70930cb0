/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * limits.h - limits of cgroups for reads from a disk (blk-throttle). Reads beyond them wait in a queue where no disk has
 * counted them yet.
 */
#ifndef PAGESCAN_TRACK_LIMITS_H
#define PAGESCAN_TRACK_LIMITS_H

#include "reason.h"

/*
 * Returns 0 if no cgroup of the machine has a limit for reads from the @disk ("MAJOR:MINOR" of the whole disk), or a
 * negative errno with @why: there is one, or that cannot be seen from here.
 */
int limits_none(const char *disk, struct reason *why);

#endif
