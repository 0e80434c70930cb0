/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * container.h - a container that is to move, and its runtime: runc, crun, or what else has their commands.
 *
 * The runtime knows what of a container belongs to the machine, and it alone may start and end one. So its checkpoint and
 * restore take the place of criu's dump and restore. They run criu as a service; the one that they find is
 * `pagescan criu`, and that finds the action script of the migration in its configuration.
 */
#ifndef PAGESCAN_CMD_CONTAINER_H
#define PAGESCAN_CMD_CONTAINER_H

#include <stdbool.h>

#include "track/reason.h"

/* Where it tells its errors, in the migration's directory. */
#define RUNTIME_LOG "runtime.log"

/*
 * @name: NULL if there is no container but a process tree. @runtime: its command, words separated by spaces. @bundle: where
 * config.json is at the destination, NULL: as here. The strings are the caller's.
 */
struct container {
	const char *name;
	const char *runtime;
	const char *bundle;
};

/*
 * Ask the runtime. Returns the pid of the container's root process, or 0 after a complaint. @bundle, where it was NULL, is
 * allocated and stays until the end.
 */
int container_find(struct container *container);

/*
 * Put into the migration's directory @dir, an open one, whose path is @path, what the runtime's criu shall find. Returns 0
 * or a negative errno with @why.
 */
int container_prepare(int dir, const char *path, struct reason *why);

/*
 * Then see that it does: otherwise criu would not ask before it ends the container, or, if @restores, before it lets it
 * run. Returns 0 or -EIO with @why.
 */
int container_probe(const struct container *container, int dir, const char *path, bool restores, struct reason *why);

/*
 * Become the runtime, with the arguments @fixed, which end with NULL, then the @nr @options and the name. Where @path is
 * not NULL the criu that it finds is ours; if @asks it runs the migration's action script. Returns only after a
 * complaint: the exit status.
 */
int container_exec(const struct container *container, const char *path, bool asks, char *const fixed[],
		   char *const options[], int nr);

/*
 * A runtime that restores reads at once, long before the last images are there, what the container's standard streams were;
 * its checkpoint writes that last. So it is written in advance, into the image directory @dir, of the root process @pid.
 * Returns 0 or a negative errno with @why.
 */
int container_describe(int dir, int pid, struct reason *why);

/*
 * At the destination, whose directory is @dir: what the first round has of that is for the restore, which has the
 * directory `last` from its begin on. Returns 0 or a negative errno.
 */
int container_begin_last(int dir);

/*
 * The last images are complete in the directory @name: now they are in `last`, and @name is a link to it. *same: they say
 * what has been said in advance. Returns 0 or a negative errno.
 */
int container_complete_last(int dir, const char *name, bool *same);

#endif
