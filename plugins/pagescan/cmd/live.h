/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * live.h - what the commands that make live rounds share.
 */
#ifndef PAGESCAN_CMD_LIVE_H
#define PAGESCAN_CMD_LIVE_H

#include <jansson.h>

#include "copy/live_round.h"
#include "copy/written.h"

/* True once SIGINT or SIGTERM has come, which end a round and not the program. */
extern volatile sig_atomic_t live_stop;
void live_heed_signals(void);

/* For struct live_request: print it. */
void live_tell(int pid, const char *text);

/*
 * A descriptor, the caller's, of the empty directory @path, which is made if it is not there.
 * -1 after a complaint.
 */
int live_images(const char *path);

/* The areas written most, as a list for people's programs. The caller's; NULL without memory. */
json_t *live_areas(const struct written *written);

#endif
