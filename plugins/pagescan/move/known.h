/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * known.h - pages that the destination of a migration has in images of before, and that need not be sent again.
 *
 * Either end knows them by their digests alone. So it does not matter whose images these are, how old, or at which address
 * a page was: what has the same SHA-256 is the same page.
 */
#ifndef PAGESCAN_MOVE_KNOWN_H
#define PAGESCAN_MOVE_KNOWN_H

#include "digest.h"
#include "wire.h"

/* Pages at most; of further ones nothing is known. They take 40 bytes each, at either end. */
#define KNOWN_MAX (1UL << 24)

/*
 * @v: ascending, @nr of them. At the destination also where they are: in @files, names below the open directory @dir,
 * whose path @path is the caller's. { .dir = -1 } to start with.
 */
struct known {
	struct known_page *v;
	size_t nr;
	size_t room;
	int dir;
	const char *path;
	char **files;
	size_t nr_files;
};

void known_fini(struct known *known);

/*
 * The destination: read all pages-*.img in the directory @path and those in it, which takes as long as reading them does,
 * and tell the source by @wire. Returns 0 or a negative errno with @why.
 */
int known_offer(struct known *known, const char *path, const struct wire *wire, struct reason *why);

/*
 * The source: take a WIRE_KNOWN of @wire. Returns 1 if more are to come, 0 after the last one, or a negative errno with
 * @why.
 */
int known_hear(struct known *known, const struct wire *wire, struct reason *why);

/* Does the destination have the page with this digest? Any thread. */
bool known_has(const struct known *known, const unsigned char page[DIGEST]);

/*
 * The destination: read the @nr pages with these @digests, one after the other, to @pages, and see that they are these.
 * Any thread. Returns 0 or a negative errno with @why: -EPROTO for what was never offered, -ESTALE if the images have
 * changed.
 */
int known_read(const struct known *known, const unsigned char (*digests)[DIGEST], size_t nr, unsigned char *pages,
	       struct reason *why);

#endif
