/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * restore.h - the criu of `pagescan receive`: started early, warm, or when all images are there.
 */
#ifndef PAGESCAN_CMD_RESTORE_H
#define PAGESCAN_CMD_RESTORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "container.h"

/*
 * @path: the directory of all rounds, in which `last` will be what is restored. @options: criu's, after its own; the
 * caller's. @container: restored by its runtime, whose options they are then; without a name: there is none. @pid: criu or
 * the runtime, or -1. @sock: how a warm one is told of rounds, -1 for a plain one. bind/landing.h has the words. @far: its
 * other end, where a runtime's criu has to take it from here; otherwise -1. @first: the pid of the first process of what
 * is restored, when all is. @root: a pidfd of it, where all others end with it; or -1.
 */
struct restore {
	const char *path;
	char **options;
	int nr_options;
	struct container container;
	pid_t pid;
	int sock;
	int far;
	int first;
	int root;
};

/* Start it. What it leaves behind becomes ours until restore_let_go(). Returns 0 or -EIO after a complaint. */
int restore_start(struct restore *restore, bool warm);

/* Tell a warm one that the directory `@name` of the path is a round, or the last. Harmless if it is not there any more. */
void restore_tell(const struct restore *restore, bool last, const char *name);

/* Ask a warm one whether it can hold memory ready; restore_hear() has the answer. Returns whether it could be asked. */
bool restore_ask(const struct restore *restore);

/*
 * What a warm one answers. Returns 1 with the bytes that it holds ready, 0 with @reason, why it holds none, or -1: it has
 * ended.
 */
int restore_hear(const struct restore *restore, uint64_t *bytes, char reason[256]);

/* The processes may run from here on: nobody ends them. */
void restore_let_go(void);

/*
 * Wait for criu's end. Unless they were let go, tasks that it leaves half restored are ended, as a criu that was killed
 * leaves them: they would hold the pids. Returns its exit status, or -1 if it was killed.
 */
int restore_wait(struct restore *restore);

/*
 * Do a runtime and its criu live, which runs the script that is at the other end of @script? A runtime may outlive its criu,
 * and takes its time to end then; an orphan of criu's is the runtime's child, or anybody's.
 */
bool restore_is_held(const struct restore *restore, int script);

/* All is restored, @root being the root's pid. */
void restore_watch(struct restore *restore, int root);

/* The processes run: the huge pages in which their memory came (land/huge.h) are split. */
void restore_split(const struct restore *restore);

/* The restore has come to nothing: is it sure that nobody of what was restored is left? */
bool restore_has_left_none(const struct restore *restore);

/* It is not wanted any more. */
void restore_stop(struct restore *restore);

#endif
