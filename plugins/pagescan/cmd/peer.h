/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * peer.h - `pagescan receive` on another machine, by ssh or whatever runs commands there.
 */
#ifndef PAGESCAN_CMD_PEER_H
#define PAGESCAN_CMD_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "move/wire.h"

/*
 * @host, @path: where to. @rsh: the command that runs another one there, words separated by spaces. @program: pagescan's
 * path there. The strings are the caller's.
 */
struct peer {
	const char *host;
	const char *path;
	const char *rsh;
	const char *program;
};

/* Take "HOST:DIRECTORY" apart, in place. Returns false after a complaint. */
bool peer_parse(struct peer *peer, char *destination);

/*
 * The arguments that run pagescan receive there with @options (NULL-terminated, may hold anything). The caller frees each
 * and the array, by peer_free(). NULL without memory.
 */
char **peer_command(const struct peer *peer, char *const options[]);
void peer_free(char **argv);

/*
 * Run it, @in and @out being the descriptors to read from and write to it, the caller's. Signals of a terminal do not
 * reach it. Returns its pid or -1 after a complaint.
 */
pid_t peer_start(char **argv, int *in, int *out);

/*
 * The next frame of @wanted type; what else the other end has to say is told the user. Returns 0 or a negative errno
 * with @why: what the other end says is the reason for its failure, -EREMOTEIO.
 */
int peer_hear(struct wire *wire, enum wire_type wanted, struct reason *why);

#endif
