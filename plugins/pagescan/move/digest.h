/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * digest.h - SHA-256, by which two ends find out that they have the same page without sending it.
 */
#ifndef PAGESCAN_MOVE_DIGEST_H
#define PAGESCAN_MOVE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "track/reason.h"

/* Bytes. */
#define DIGEST 32

/* To be called once, before the first digest() and before there is a second thread. Returns 0 or -ENOENT with @why. */
int digest_load(struct reason *why);

/* That of @len bytes. Any thread. Returns whether it could be made. */
bool digest(const void *data, size_t len, unsigned char to[DIGEST]);

#endif
