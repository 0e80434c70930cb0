/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * release.h - end tracking, so that the task hardly notices.
 */
#ifndef PAGESCAN_TRACK_RELEASE_H
#define PAGESCAN_TRACK_RELEASE_H

#include <stdint.h>

#include "reason.h"

/*
 * Take the protection off the memory of @pid, or of all tracked tasks where it is 0, and have the keeper forget them. Returns
 * when all is done, 0 or a negative errno as keeper_drop() does, with @why; *dropped is the number of tasks. Needs no freeze; a
 * round of such a task that is on its way meanwhile, or comes later, finds all its pages dirty.
 */
int release(int32_t pid, int *dropped, struct reason *why);

#endif
