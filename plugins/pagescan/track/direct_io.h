/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * direct_io.h - reads by which a device writes a task's memory past its page tables.
 *
 * The pages of such a read were looked up when it was submitted. So what it writes after a page was copied would be called
 * clean, if the page was protected meanwhile. One that is submitted to a page that is protected already takes the
 * protection off, as any write does.
 */
#ifndef PAGESCAN_TRACK_DIRECT_IO_H
#define PAGESCAN_TRACK_DIRECT_IO_H

#include <stdbool.h>

#include "reason.h"
#include "scan/areas.h"

/*
 * May a direct read be under way, synchronous or not, in the task @pid, which runs, and whose areas these are
 * (areas_read)? In doubt true. @why then says the reason.
 */
bool direct_io_possible(int pid, const struct areas *areas, struct reason *why);

/*
 * May an asynchronous direct read be under way that the frozen task @pid submitted before this call? Waits some
 * milliseconds for them to end, where that can be seen. False is a proof, and good until the task runs again; in doubt
 * true. @why then says the reason. A task without the means to make such reads is not waited for.
 */
bool direct_io_under_way(int pid, const struct areas *areas, struct reason *why);

#endif
