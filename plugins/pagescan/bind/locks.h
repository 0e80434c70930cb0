/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * locks.h - `criu restore` at the destination of a migration does not wait for a lock on a file.
 */
#ifndef PAGESCAN_BIND_LOCKS_H
#define PAGESCAN_BIND_LOCKS_H

#include "slots.h"

/*
 * CRIU takes the tasks' locks again by fcntl(F_SETLKW) and flock(2). Where both machines see the file it would wait for
 * the source's tasks, which have it and are frozen until the restore is done. From here on such a call fails at once, with
 * a line that says so. Where criu does not import one of the two it waits as it would alone.
 */
void locks_bind(const struct elf *elf);

#endif
