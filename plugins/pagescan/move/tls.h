/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls.h - a connection that nobody reads and that both ends have proved to know a key for: TLS 1.3 with that key alone.
 */
#ifndef PAGESCAN_MOVE_TLS_H
#define PAGESCAN_MOVE_TLS_H

#include <stdbool.h>
#include <sys/types.h>

#include "track/reason.h"

/* Bytes of a key: of random ones, as it is used as it is. */
#define TLS_KEY 32

/* Loaded where it is needed: linked, it would make each start of this program take three times as long. */
#define TLS_LIBRARY "libgnutls.so.30"

struct tls;

/*
 * TLS over the connected socket @sock, which has O_NONBLOCK and which tls_close() closes. @server: the end that the other
 * one has connected to. One thread at a time. Returns NULL with @why; then @sock is the caller's.
 */
struct tls *tls_open(int sock, bool server, const unsigned char key[TLS_KEY], struct reason *why);
void tls_close(struct tls *tls);

int tls_sock(const struct tls *tls);

/*
 * Prove the key and have it proved. Returns 0: done, -EAGAIN: again when the socket has *events (poll(2)), or another
 * negative errno with @why. Nothing may be sent or received before.
 */
int tls_handshake(struct tls *tls, short *events, struct reason *why);

/*
 * As write(2) and read(2), but a negative errno: -EAGAIN when the socket has to be waited for (what was to be sent is to be
 * sent again, the same bytes), -ECONNRESET: the connection has ended, -EPROTO: somebody has meddled with it.
 */
ssize_t tls_send(struct tls *tls, const void *data, size_t len);
ssize_t tls_receive(struct tls *tls, void *buffer, size_t len);

#endif
