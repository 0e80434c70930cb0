/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * keeper.h - the keeper holds userfaultfds between CRIU runs: the kernel forgets all protection when they close.
 *
 * One small process a host (and a user), started when first needed and gone when nothing is tracked. Messages are
 * packets of one fixed size on a Unix socket; every request gets one reply.
 */
#ifndef PAGESCAN_TRACK_KEEPER_H
#define PAGESCAN_TRACK_KEEPER_H

#include "epoch.h"

#define KEEPER_VERSION 1

/* NEXT asks for the tracked task with the lowest pid above the one given, so that a list needs no long reply. */
enum keeper_op { KEEPER_GET = 1, KEEPER_PUT, KEEPER_DROP, KEEPER_NEXT };

/* What the keeper knows of one task. @since: seconds since 1970 when tracking began. */
struct keeper_entry {
	struct identity id;
	struct epoch epoch;
	int64_t since;
};

/*
 * @op: enum keeper_op. @status of a reply: a negative errno, 0, or for DROP the number of tasks dropped. Both ends run
 * on one machine, so it goes as it lies in memory.
 */
struct keeper_message {
	uint32_t version;
	uint32_t op;
	int32_t status;
	struct keeper_entry entry;
};

/*
 * The directory of socket and lock: /run/pagescan for root, $XDG_RUNTIME_DIR/pagescan else. Made, mode 0700, if it is
 * not there. Returns an open directory or a negative errno with @why; -EPERM if it is not a directory of our own.
 */
int keeper_dir_open(struct reason *why);

/*
 * Address of the socket in the directory @dir (keeper_dir_open), which stays open meanwhile: by /proc/self/fd so that
 * the path stays short and cannot be swapped.
 */
struct sockaddr_un;
void keeper_address(int dir, struct sockaddr_un *addr);

/* Send one message with up to two descriptors, which stay the caller's. Returns 0 or a negative errno. */
int keeper_send(int sock, const struct keeper_message *message, const int *fds, size_t nr_fds);

/*
 * Receive one. @fds has room for two; *nr_fds were received and are the caller's (none after an error). Returns 0,
 * -EPIPE (the peer closed), -EPROTO (not such a message) or another negative errno.
 */
int keeper_receive(int sock, struct keeper_message *message, int fds[2], size_t *nr_fds);

/*
 * The client's calls. Each connects anew and blocks for at most some seconds. Returns 0 or a negative errno with @why;
 * -ENOENT where no keeper runs.
 *
 * keeper_get: the task's epoch and a descriptor of its userfaultfd (the caller's). -ENOENT: not tracked, or tracked
 * as another incarnation of the pid; no keeper is started for it. *uffd is -1 after an error.
 * keeper_put: remember @uffd (stays the caller's) for the task at @epoch; starts the keeper where there is none.
 * -EMFILE: its limit of open files allows no more tasks (two descriptors each); those it has are as before.
 * keeper_drop: forget @pid, or all where it is 0; *dropped is their number.
 * keeper_list: call @visit for each task, by rising pid; its non-zero return ends the list and is returned.
 */
int keeper_get(const struct identity *id, struct epoch *epoch, int *uffd, struct reason *why);
int keeper_put(const struct identity *id, const struct epoch *epoch, int uffd, struct reason *why);
int keeper_drop(int32_t pid, int *dropped, struct reason *why);
int keeper_list(int (*visit)(void *ctx, const struct keeper_entry *entry), void *ctx, struct reason *why);

/* Is there a program to start as the keeper? Returns 0 or a negative errno with @why. */
int keeper_find_program(struct reason *why);

/*
 * Start a keeper in the background, detached from the caller, and wait until it listens, or another one does: at most
 * five seconds. Returns 0 or a negative errno with @why. The caller gets no child and no SIGCHLD of it.
 */
int keeper_spawn(struct reason *why);

/*
 * Be the keeper: serve until nothing is tracked. @ready: a descriptor that gets one byte when it listens, -1 for
 * none. Confines the process for good (confine.c). Returns 0, or a negative errno with @why if it could not start.
 */
int keeper_serve(int ready, struct reason *why);

#endif
