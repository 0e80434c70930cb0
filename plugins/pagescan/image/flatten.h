/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flatten.h - make images a parent that says no more than which pages there are.
 */
#ifndef PAGESCAN_IMAGE_FLATTEN_H
#define PAGESCAN_IMAGE_FLATTEN_H

/*
 * Of a round whose pages lie elsewhere, in the directory @dir (open, the caller's): CRIU asks of a parent, in a dump, only
 * whether it has a page (criu/page-xfer.c, check_pagehole_in_parent), but reads the pagemaps of all its ancestors for
 * that, entry by entry, while the tasks are frozen. Afterwards each pagemap-PID.img there has as few entries as can be,
 * and there is no link to a parent. No memory can be restored from such images. Returns 0; or a negative errno: then
 * they are not to be used.
 */
int image_flatten(int dir);

#endif
