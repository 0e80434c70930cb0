/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * confine.h - give up every right that the keeper does not use.
 */
#ifndef PAGESCAN_TRACK_CONFINE_H
#define PAGESCAN_TRACK_CONFINE_H

#include "reason.h"

/*
 * For the calling process, which has one thread, for good: no capabilities, no new privileges, only the keeper's system
 * calls (others fail with EPERM). Returns 0 or a negative errno with @why; then the process is confined in part and
 * must end.
 */
int confine(struct reason *why);

#endif
