/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wire.h - what the two ends of a migration say to each other, over a pair of descriptors.
 *
 * A frame is a head of 16 bytes, little-endian (type: 4, zero: 4, length: 8), and so many bytes. The first frame of each
 * side is WIRE_HELLO. Whoever connects the two has authenticated them; still nothing that a frame can hold makes the
 * receiver crash, write outside its directory or allocate more than a frame may have.
 *
 * With --tcp the pages go over connections of their own, by frames of the same kind that say which file they are of; the
 * first connection tells how many bytes of a file went there, and so the two keep in step without waiting for each other.
 */
#ifndef PAGESCAN_MOVE_WIRE_H
#define PAGESCAN_MOVE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "tls.h"
#include "track/reason.h"

#define WIRE_VERSION 3

/* Bytes of a frame, without its head: a buffer of pages, and what goes before it. */
#define WIRE_MAX ((1UL << 20) + 4096)

enum wire_type {
	/* From both: struct wire_hello. */
	WIRE_HELLO = 1,
	/* From the source. A new directory of images: its number, 4 bytes. */
	WIRE_ROUND,
	/* A file in it, which what follows is of: its name. */
	WIRE_FILE,
	/* 8 bytes: the offset, 4: the file's number, files counted from 1 on. Then what stands there. */
	WIRE_DATA,
	/* 8 bytes: the offset, 4: the file's number, 4: the size, then LZ4's block of what stands there. */
	WIRE_LZ4,
	/* 8 bytes: how many have been sent of the file (what is no hole), 8: its size. It is whole. */
	WIRE_FILE_END,
	/* 8 bytes: how many have been sent of the file. It is of no use. */
	WIRE_FILE_DROP,
	/* The directory's parent is the one before. */
	WIRE_PARENT,
	/* The directory is complete. It is one of several. */
	WIRE_ROUND_END,
	/* The directory is complete, and it is the dump: restore it and wait. */
	WIRE_LAST,
	/* Let the processes run. */
	WIRE_GO,
	/* From the destination. 4 bytes: the number of a round that is taken; 8: bytes that are held ready. */
	WIRE_TAKEN,
	/* Everything is restored and stands still. */
	WIRE_READY,
	/* The processes run. */
	WIRE_RUNNING,
	/* A sentence: why this did not work. Nothing of it runs. */
	WIRE_FAILED,
	/* A sentence for the user. */
	WIRE_NOTE,
	/* From the source. Listen for connections of their own: struct wire_listen and a numeric address. */
	WIRE_LISTEN,
	/* From the destination. It does; 4 bytes: the port. */
	WIRE_LISTENS,
	/* They are there, all others are refused. */
	WIRE_JOINED,
	/* From the destination. Digests of pages that it has, ascending; after the last ones an empty frame. */
	WIRE_KNOWN,
	/* From the source. 8 bytes: the offset, 4: the file's number. Then digests of the pages that stand there. */
	WIRE_SAME,
};

/* @nr: how many connections. @port: 0 for any. @key: what whoever connects has to prove, of this migration alone. */
struct wire_listen {
	uint32_t nr;
	uint32_t port;
	unsigned char key[TLS_KEY];
};

/* @arch: as uname(2) says, e.g. x86_64. Numbers are little-endian. */
struct wire_hello {
	uint32_t version;
	uint32_t page_size;
	char arch[24];
};

/*
 * @in, @out: descriptors, the caller's. Nothing that is to come or to go for @patience milliseconds (-1: for ever) is an
 * error, -ETIMEDOUT; for what is to go that takes a descriptor with O_NONBLOCK. @tls: what they are read and written
 * through, the caller's, or NULL. @buffer: the last frame's content.
 */
struct wire {
	int in;
	int out;
	int patience;
	struct tls *tls;
	unsigned char *buffer;
	size_t len;
};

/* Until a descriptor has @events (poll(2)), @patience milliseconds. Returns 0 or a negative errno. */
int wire_wait(int fd, short events, int patience);

/* Returns 0 or -ENOMEM. */
int wire_init(struct wire *wire, int in, int out, int patience);
void wire_fini(struct wire *wire);

/* Send a frame of two parts, @head (may be of no bytes) and @data. Returns 0 or a negative errno with @why. */
int wire_send(const struct wire *wire, enum wire_type type, const void *head, size_t head_len, const void *data,
	      size_t data_len, struct reason *why);

/*
 * Sending has failed with @err, here or on a connection beside this one. If the other end is gone, but has said why before
 * (WIRE_FAILED), or is about to, that is the better reason. Returns the error, -EREMOTEIO in this case.
 */
int wire_last_word(struct wire *wire, int err, struct reason *why);

/* The same as wire_send() for a sentence. */
int wire_say(const struct wire *wire, enum wire_type type, const char *text, struct reason *why);

/*
 * The next frame; its content is in @buffer, @len bytes and a zero behind them. Returns its type, -ECONNRESET: the other
 * end is gone, -EPROTO: that is no frame, or another negative errno; all with @why.
 */
int wire_receive(struct wire *wire, struct reason *why);

/* Say hello and hear it. Returns 0 or a negative errno with @why: -EPROTO if the two cannot work together. */
int wire_hello(struct wire *wire, struct reason *why);

/* The number of @size bytes, 4 or 8, at @at of the frame; 0 where the frame is shorter. */
uint64_t wire_number(const struct wire *wire, size_t at, size_t size);

#endif
