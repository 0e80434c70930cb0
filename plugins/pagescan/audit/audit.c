// SPDX-License-Identifier: GPL-2.0-only
/*
 * audit.c - compare a task's memory with what its images hold. Calls chain, identity, memory, the
 * kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "track/identity.h"
#include "track/memory.h"

#define CHUNK_PAGES 64UL

int audit_open(struct audit *audit, int proc_dir, int dir, const char *path, struct reason *why)
{
	/*
	 * CRIU names images by the pid that the task itself sees, the last one in this line: it dumps pid namespaces
	 * whole and knows none inside another (criu/include/pid.h, vpid).
	 */
	int pid = identity_status(proc_dir, "NSpid");
	int err;

	*audit = (struct audit){ .mem_fd = -1 };
	if (pid < 0)
		return reason_set(why, pid, "cannot read the task's pid from its status: %s", strerror(-pid));
	err = chain_open(&audit->chain, dir, path, pid, why);
	if (err)
		return err;

	audit->buf = malloc(2 * CHUNK_PAGES * pagescan_page_size());
	audit->mem_fd = memory_open(proc_dir);
	if (!audit->buf || audit->mem_fd < 0) {
		err = audit->buf ? audit->mem_fd : -ENOMEM;
		reason_set(why, err, "cannot open the task's memory: %s", strerror(-err));
		audit_close(audit);
	}
	return err;
}

static int read_all(int fd, char *buf, size_t size, uint64_t offset)
{
	while (size) {
		ssize_t got = pread(fd, buf, size, (off_t)offset);

		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		buf += got;
		size -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static size_t first_difference(const char *a, const char *b, size_t size)
{
	size_t i = 0;

	while (i < size && a[i] == b[i])
		i++;
	return i;
}

/* Up to CHUNK_PAGES pages that lie in one file, one after the other. Says why of the first page that is wrong. */
static int compare_chunk(struct audit *audit, uint64_t addr, uint64_t end, const struct chain_piece *piece,
			 struct reason *why)
{
	const size_t page = pagescan_page_size(), size = end - addr;
	char *ours = audit->buf, *theirs = audit->buf + CHUNK_PAGES * page;
	const struct iovec from = { (void *)(uintptr_t)addr, size };
	ssize_t got = memory_read(audit->mem_fd, ours, &from, 1);
	int err = got < 0 ? (int)got : got < (ssize_t)size ? -EFAULT : 0;

	if (err)
		return reason_set(why, err, "cannot read memory at %" PRIx64 ": %s", addr, strerror(-err));
	err = read_all(piece->fd, theirs, size, piece->offset);
	if (err)
		return reason_set(why, err, "cannot read the images' pages for %" PRIx64 ": %s", addr,
				  err == -EIO ? "their file is too short" : strerror(-err));

	audit->compared += size / page;
	for (size_t at = 0; at < size; at += page) {
		size_t byte = first_difference(ours + at, theirs + at, page);

		if (byte == page)
			continue;
		audit->different++;
		if (!err)
			err = reason_set(why, -EBADMSG,
					 "page %" PRIx64 " differs from its images: byte %zu is %02x, there it is %02x",
					 addr + at, byte, ours[at + byte] & 0xff, theirs[at + byte] & 0xff);
	}
	return err;
}

bool audit_goes_on(int *verdict, int err)
{
	if (err)
		*verdict = err;
	return !err || err == -EBADMSG;
}

int audit_range(struct audit *audit, uint64_t start, uint64_t end, struct reason *why)
{
	const uint64_t page = pagescan_page_size();
	int verdict = 0;

	while (start < end) {
		uint64_t stop = end - start > CHUNK_PAGES * page ? start + CHUNK_PAGES * page : end;
		struct chain_piece piece;
		int err;

		if (chain_find(&audit->chain, start, &piece)) {
			stop = start + page;
			audit->compared++;
			audit->missing++;
			err = reason_set(verdict ? NULL : why, -EBADMSG, "page %" PRIx64 " is in none of its images",
					 start);
		} else {
			stop = piece.end < stop ? piece.end : stop;
			err = compare_chunk(audit, start, stop, &piece, verdict ? NULL : why);
		}
		if (!audit_goes_on(&verdict, err))
			break;
		start = stop;
	}
	return verdict;
}

int audit_answer(struct audit *audit, const struct pagescan_region *vec, size_t nr, struct reason *why)
{
	int verdict = 0;

	for (size_t i = 0; i < nr; i++) {
		if (vec[i].categories & PAGESCAN_SOFT_DIRTY)
			continue;
		if (!audit_goes_on(&verdict, audit_range(audit, vec[i].start, vec[i].end, verdict ? NULL : why)))
			break;
	}
	return verdict;
}

void audit_close(struct audit *audit)
{
	chain_close(&audit->chain);
	free(audit->buf);
	if (audit->mem_fd >= 0)
		close(audit->mem_fd);
	*audit = (struct audit){ .mem_fd = -1 };
}
