/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * landing.h - `criu restore` that waits, warm, for the last images.
 *
 * Whoever starts it holds the other end of a SOCK_SEQPACKET socket whose descriptor is in $PAGESCAN_LAND; as PID:FD where
 * it is another process's, as a runtime between the two hands on no descriptors; empty if all images are there, and none
 * is waited for. A packet is a letter and text: LAND_ROUND or LAND_LAST and the path of an image directory, no longer than
 * a path can be. A round is answered by LAND_LOADED and how many bytes are held ready, or by LAND_COLD and the reason why
 * none are: then the restore will be a plain one. LAND_ASK is answered in the same way, for no round. After LAND_LAST
 * criu begins. It ends if the other end is closed before.
 */
#ifndef PAGESCAN_BIND_LANDING_H
#define PAGESCAN_BIND_LANDING_H

#include "slots.h"

#define LAND_VARIABLE "PAGESCAN_LAND"

enum { LAND_ASK = 'A', LAND_ROUND = 'R', LAND_LAST = 'L', LAND_LOADED = 'l', LAND_COLD = 'c' };

/* The socket that $PAGESCAN_LAND names, the caller's, or -1. */
int landing_socket(const char *where);

/* Wait for the last images, being told of rounds by @sock, and stand in criu's slots if there is a use for it. */
void landing_wait(int sock, const struct elf *elf);

#endif
