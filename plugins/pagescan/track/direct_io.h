/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * direct_io.h - reads by which a device writes a task's memory past its page tables.
 */
#ifndef PAGESCAN_TRACK_DIRECT_IO_H
#define PAGESCAN_TRACK_DIRECT_IO_H

#include <stdbool.h>

#include "reason.h"
#include "scan/areas.h"

/*
 * May such a read be under way in the task @pid, whose areas these are (areas_read)? In a frozen task that is an
 * asynchronous one; in a task that is @running any. Whoever asks must not protect pages then: the read goes past the
 * page tables (its pages were looked up when it was submitted), and what it writes after a page was copied would be
 * called clean. In doubt true. @why then says the reason.
 */
bool direct_io_possible(int pid, const struct areas *areas, bool running, struct reason *why);

#endif
