/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * send.h - rounds of images onto the wire: pages as they are copied, the other files when they are complete.
 */
#ifndef PAGESCAN_MOVE_SEND_H
#define PAGESCAN_MOVE_SEND_H

#include <pthread.h>

#include "copy/copy.h"
#include "copy/files.h"
#include "known.h"
#include "wire.h"

/* A connection for what is in files. */
struct lane_out {
	struct wire *wire;
	pthread_mutex_t lock;
};

/*
 * A sink that sends what it gets. @files writes what CRIU looks at when it makes the next round; its pages files have
 * their size and nothing in them. With @compress pages go as LZ4 makes them, as long as that pays: @plain, how many more
 * chunks go as they are. @lanes: @wire, and those that only pages go over, where there are any; threads send, each over
 * one that is free. @known: pages that are told by their digests, or NULL. @file, @sent: of the file that is being sent, its number and the bytes; @bytes: of all. @err, @why:
 * of the first lane that has failed.
 */
struct send {
	struct sink sink;
	struct files *files;
	struct wire *wire;
	struct lane_out lanes[1 + COPY_JOBS];
	unsigned int nr;
	pthread_mutex_t lock;
	bool compress;
	unsigned int plain;
	const struct known *known;
	uint32_t file;
	uint64_t sent;
	uint64_t bytes;
	int err;
	struct reason why;
};

/* @wire stays the caller's. @compress: by LZ4. */
void send_init(struct send *send, struct wire *wire, bool compress);

/* From now on pages go over these @nr connections, COPY_JOBS at most; they stay the caller's. */
void send_pages_over(struct send *send, struct wire *lanes, unsigned int nr);

/* A round begins, number @round, with the one before as its parent unless it is the first. Its pages go to @files, too. */
int send_round(struct send *send, struct files *files, unsigned int round, struct reason *why);

/*
 * All regular files in @dir, an open directory that stays the caller's, but CRIU's log; with @live, but those that the
 * sink has sent, the pages. Then @type: WIRE_ROUND_END or WIRE_LAST. Returns 0 or a negative errno with @why.
 */
int send_directory(struct send *send, int dir, bool live, enum wire_type type, struct reason *why);

#endif
