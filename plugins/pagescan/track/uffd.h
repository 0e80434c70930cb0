/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uffd.h - a userfaultfd for another process's memory, and its areas. All ranges are bytes, half-open, page aligned.
 * The calls on a range return 0 or a negative errno (ioctl_userfaultfd(2)). The descriptor is the caller's.
 */
#ifndef PAGESCAN_TRACK_UFFD_H
#define PAGESCAN_TRACK_UFFD_H

#include <stdint.h>

#include "identity.h"
#include "reason.h"

/*
 * Runs one system call inside a task that its caller has frozen. Returns 0 and the call's own result (negative errno
 * on failure) in *result, or a negative errno if it could not be run. See bind/remote.c.
 */
struct remote {
	int (*syscall)(void *ctx, long nr, const unsigned long args[6], long *result);
	void *ctx;
};

/*
 * Make a userfaultfd inside the task @id through @remote, take it out, close it there, and switch it to asynchronous
 * write-protection. One that an earlier call left there, because its process was killed, is closed first. Returns a
 * descriptor (close-on-exec) or a negative errno with @why.
 */
int uffd_create(const struct identity *id, const struct remote *remote, struct reason *why);

/*
 * Register [start, end) for write-protection: what is in it reads as written until it is protected. Changes nothing
 * where it is registered with @uffd already; -EBUSY where it is with another one (fs/userfaultfd.c).
 */
int uffd_register(int uffd, uint64_t start, uint64_t end);

/* End the registration: the area is not WPALLOWED any more and all its pages read as written. */
int uffd_unregister(int uffd, uint64_t start, uint64_t end);

/* Take the protection off [start, end), an area of ours: its pages read as written. */
int uffd_unprotect(int uffd, uint64_t start, uint64_t end);

#endif
