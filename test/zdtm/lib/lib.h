/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of this library owe each other, and no test may use. */
#ifndef ZDTM_LIB_H
#define ZDTM_LIB_H

/* notify.c: puts the runner's two pipes in place; then (in the signal handler) ends a wait for the runner. */
void notify_init(void);
void notify_end(void);

/* msg.c: from now on, stdout and stderr are this new file. */
void msg_init(const char *outfile);

#endif
