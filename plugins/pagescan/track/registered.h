/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * registered.h - which areas of a process are registered for asynchronous write-protection.
 */
#ifndef PAGESCAN_TRACK_REGISTERED_H
#define PAGESCAN_TRACK_REGISTERED_H

#include "scan/areas.h"

/*
 * Set @ours of all @areas of the process behind @pagemap_fd (an open /proc/PID/pagemap; stays the caller's): the area
 * is registered, with whichever userfaultfd. What cannot be told is not. Changes nothing in the process.
 */
void registered_find(int pagemap_fd, struct areas *areas);

#endif
