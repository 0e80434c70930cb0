// SPDX-License-Identifier: GPL-2.0-only
/*
 * audit.c - compare a task's memory with what its images hold. Calls chain, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"

#define CHUNK_PAGES 64UL

/*
 * CRIU names images by the pid that the task itself sees: it dumps pid namespaces whole and knows none inside another
 * (criu/include/pid.h, vpid).
 */
static int own_pid(int proc_dir, struct reason *why)
{
	char *line = NULL;
	size_t room = 0;
	int pid = 0;
	int fd = openat(proc_dir, "status", O_RDONLY | O_CLOEXEC);
	FILE *status = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (!status) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return reason_set(why, err, "cannot read the task's status: %s", strerror(-err));
	}
	while (!pid && getline(&line, &room, status) > 0) {
		if (!strncmp(line, "NSpid:", 6))
			pid = atoi(strrchr(line, '\t') + 1);
	}
	free(line);
	fclose(status);
	return pid > 0 ? pid : reason_set(why, -EINVAL, "the task's status tells no pid");
}

int audit_open(struct audit *audit, int proc_dir, int dir, const char *path, struct reason *why)
{
	int pid = own_pid(proc_dir, why);
	int err = pid < 0 ? pid : 0;

	*audit = (struct audit){ .mem_fd = -1 };
	if (!err)
		err = chain_open(&audit->chain, dir, path, pid, why);
	if (err)
		return err;

	audit->buf = malloc(2 * CHUNK_PAGES * pagescan_page_size());
	audit->mem_fd = openat(proc_dir, "mem", O_RDONLY | O_CLOEXEC);
	if (!audit->buf || audit->mem_fd < 0) {
		err = audit->buf ? -errno : -ENOMEM;
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
	int err = read_all(audit->mem_fd, ours, size, addr);

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
		if (err && err != -EBADMSG)
			return err;
		verdict = verdict ? verdict : err;
		start = stop;
	}
	return verdict;
}

int audit_answer(struct audit *audit, const struct pagescan_region *vec, size_t nr, struct reason *why)
{
	int verdict = 0;

	for (size_t i = 0; i < nr; i++) {
		int err = vec[i].categories & PAGESCAN_SOFT_DIRTY ?
				  0 :
				  audit_range(audit, vec[i].start, vec[i].end, verdict ? NULL : why);

		if (err && err != -EBADMSG)
			return err;
		verdict = verdict ? verdict : err;
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
