/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * join.h - connections of their own between the two ends of a migration: the destination listens, the source connects, and
 * none counts that has not proved the key.
 */
#ifndef PAGESCAN_MOVE_JOIN_H
#define PAGESCAN_MOVE_JOIN_H

#include <netdb.h>
#include <stdint.h>

#include "tls.h"

/* The first address of a host, in numbers. Returns 0 or a negative errno with @why. */
int join_resolve(const char *host, char address[NI_MAXHOST], struct reason *why);

/* Listen at an @address in numbers and *port; any if that is 0, then it is told. Returns a descriptor or a negative errno. */
int join_listen(const char *address, uint32_t *port, struct reason *why);

/*
 * Wait for @nr connections that prove @key, into @joined, the caller's. Who does not is let go of after a while, and
 * keeps nobody waiting. Gives up if none has for a while, or if @control, the source's own connection, ends or says
 * anything. Returns 0 or a negative errno with @why.
 */
int join_accept(int listener, int control, const unsigned char key[TLS_KEY], struct tls *joined[], unsigned int nr,
		struct reason *why);

/* Connect to @port at an @address in numbers, and prove @key. Returns the caller's, or NULL with @why. */
struct tls *join_connect(const char *address, uint32_t port, const unsigned char key[TLS_KEY], struct reason *why);

#endif
