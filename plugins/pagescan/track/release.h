/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * release.h - end tracking in pieces, so that the task is not held up for all of its memory at once.
 */
#ifndef PAGESCAN_TRACK_RELEASE_H
#define PAGESCAN_TRACK_RELEASE_H

#include <stdint.h>

#include "reason.h"

/*
 * Take the protection off the memory of @pid, or of all tracked tasks where it is 0, and have the keeper forget them. Returns
 * when all is done, 0 or a negative errno as keeper_drop() does, with @why; *dropped is the number of tasks. Needs no freeze; a
 * round of such a task that is on its way meanwhile finds dirty what has been let go, and the next one all of it.
 */
int release(int32_t pid, int *dropped, struct reason *why);

#endif
