/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sequence.h - the restartable sequence (rseq(2)) that a thread was stopped in.
 *
 * Such a thread has to abort the sequence when it goes on. The word that says so is cleared by the kernel as soon as
 * the thread runs elsewhere (kernel/rseq.c, rseq_ip_fixup), as it does when a system call is run in it: so it is put
 * back in the end. Both calls are for the tracer of a thread that is stopped.
 */
#ifndef PAGESCAN_TRACK_SEQUENCE_H
#define PAGESCAN_TRACK_SEQUENCE_H

/* @word: what is at address @at of the thread's memory; 0 for no sequence. */
struct sequence {
	void *at;
	long word;
};

/* Read it. What cannot be read is no sequence. */
void sequence_keep(struct sequence *sequence, int tid);

/* Write it back, if there is one. */
void sequence_put_back(const struct sequence *sequence, int tid);

#endif
