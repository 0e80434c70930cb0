/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * receive.h - rounds of images from the wire into directories.
 */
#ifndef PAGESCAN_MOVE_RECEIVE_H
#define PAGESCAN_MOVE_RECEIVE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "known.h"
#include "wire.h"

/*
 * @base: the directory of all rounds, the caller's. @round: the last one; @dir, @file: it and the file that is open, -1.
 * @number: of that file. @threads: pages come by connections of their own, whose threads write to the file under @lock's
 * rules: @writing of them right now, @arrived bytes so far; when nothing more has come for @patience
 * milliseconds nothing will. @known: pages that the source may tell by their digests; the caller's, or NULL. @err and @why: one of them has failed.
 */
struct receive {
	int base;
	unsigned int round;
	int dir;
	int file;
	uint32_t number;
	char name[256];
	unsigned char *unpacked;
	const struct known *known;
	bool threads;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int writing;
	uint64_t arrived;
	unsigned int patience;
	int err;
	struct reason why;
};

int receive_init(struct receive *receive, int base);
void receive_fini(struct receive *receive);

/*
 * Do what a frame from the source wants of the images: WIRE_ROUND to WIRE_ROUND_END, and WIRE_LAST. Returns 0 or a
 * negative errno with @why: -EPROTO for what makes no sense, and nothing outside @base is ever touched.
 */
int receive_frame(struct receive *receive, const struct wire *wire, enum wire_type type, struct reason *why);

/*
 * The same for a frame that came by a connection of its own: pages, and nothing else. Waits until the file that it is of
 * is open, or somebody has failed. @unpacked: WIRE_MAX bytes of the calling thread.
 */
int receive_pages(struct receive *receive, const struct wire *wire, enum wire_type type, unsigned char *unpacked,
		  struct reason *why);

/* A connection of its own has failed, so whoever waits for what it should bring fails for the same reason. */
void receive_fail(struct receive *receive, int err, const struct reason *why);

#endif
