/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * omit.h - spare a dump CRIU's loop over clean pages: it is told nothing of them, and their entries, which refer to the
 * parent images, are put into its images before these become valid.
 *
 * CRIU looks at each page that it is told of, and dumps what is not told as if it were not there. So an image is wrong
 * from its last page until omit_complete(), and only inventory.img makes a directory one that can be restored.
 */
#ifndef PAGESCAN_BIND_OMIT_H
#define PAGESCAN_BIND_OMIT_H

#include <pagescan.h>

/*
 * CRIU has opened pagemap-@pid.img in @dir, its image directory, for writing as @fd. Returns 0 if clean pages may be
 * omitted from it, else a negative errno: then all of them have to be told. What was omitted from it before is forgotten.
 */
int omit_begin(int dir, int fd, int pid);

/*
 * Take out of @vec, an answer of @nr regions for pagemap-@pid.img, those that are clean and that the parent images
 * have. Returns how many are left.
 */
size_t omit_clean(int pid, struct pagescan_region *vec, size_t nr);

/*
 * Put entries for all that was omitted into the images in @dir. Returns 0 or a negative errno, told in CRIU's log: then
 * the images must not be made valid. Done once, it has nothing left to do.
 */
int omit_complete(int dir);

/* Forget what was omitted; its images are not completed. */
void omit_forget(void);

#endif
