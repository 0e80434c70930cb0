/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * receive.h - rounds of images from the wire into directories.
 */
#ifndef PAGESCAN_MOVE_RECEIVE_H
#define PAGESCAN_MOVE_RECEIVE_H

#include <stdbool.h>
#include <stdio.h>

#include "wire.h"

/* @base: the directory of all rounds, the caller's. @round: the last one; @dir, @file: it and the file that is open, -1. */
struct receive {
	int base;
	unsigned int round;
	int dir;
	int file;
	char name[256];
	unsigned char *unpacked;
};

int receive_init(struct receive *receive, int base);
void receive_fini(struct receive *receive);

/*
 * Do what a frame from the source wants of the images: WIRE_ROUND to WIRE_ROUND_END, and WIRE_LAST. Returns 0 or a
 * negative errno with @why: -EPROTO for what makes no sense, and nothing outside @base is ever touched.
 */
int receive_frame(struct receive *receive, const struct wire *wire, enum wire_type type, struct reason *why);

#endif
