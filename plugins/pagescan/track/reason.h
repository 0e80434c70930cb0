/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reason.h - why something could not be done, in words for the user. The track room is silent: it fills a reason, and
 * whoever called prints it.
 */
#ifndef PAGESCAN_TRACK_REASON_H
#define PAGESCAN_TRACK_REASON_H

struct reason {
	char text[240];
};

/* Write the sentence, cut to fit, and return @err, so that a failure is one statement. A NULL @why is allowed. */
int reason_set(struct reason *why, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
