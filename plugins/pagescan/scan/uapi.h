/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uapi.h - the kernel's interface as far as scan and track use it and build machines' headers may lack it.
 *
 * PAGEMAP_SCAN came with 6.7 (include/uapi/linux/fs.h), UFFD_FEATURE_WP_ASYNC with 6.7 (linux/userfaultfd.h);
 * the pagemap bits are those of Documentation/admin-guide/mm/pagemap.rst. Used by scan and track only.
 */
#ifndef PAGESCAN_SCAN_UAPI_H
#define PAGESCAN_SCAN_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

#include <pagescan.h>

struct pagescan_ioctl_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};

#define PAGESCAN_IOCTL	     _IOWR('f', 16, struct pagescan_ioctl_arg)
#define PAGESCAN_WP_MATCHING (1ULL << 0)

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define PME_FRAME_MASK ((1ULL << 55) - 1)
#define PME_SOFT_DIRTY (1ULL << 55)
#define PME_EXCLUSIVE  (1ULL << 56) /* mapped once */
#define PME_UFFD_WP    (1ULL << 57)
#define PME_GUARD      (1ULL << 58)
#define PME_FILE       (1ULL << 61)
#define PME_SWAP       (1ULL << 62)
#define PME_PRESENT    (1ULL << 63)

/* The low bits of a swapped entry's frame field: the swap type, then the offset (mm/swapops: MAX_SWAPFILES_SHIFT). */
#define PME_SWAP_TYPE_MASK 0x1fULL

/* The frame of the shared zero page, 0 where frames are hidden or there is none. Returns 0 or a negative errno. */
int pagescan_zero_frame(uint64_t *frame);

/*
 * Put @query into the kernel's form: its masks are compared after category_inverted has flipped bits, and anyof is
 * taken after the flip too. Fills the four mask fields of @arg.
 * Returns 0, -ENODATA if no page can ever match, -EINVAL for a category that does not exist.
 */
int pagescan_query_to_kernel(const struct pagescan_query *query, struct pagescan_ioctl_arg *arg);

#endif
