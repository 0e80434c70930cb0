// SPDX-License-Identifier: GPL-2.0-only
/*
 * direct_io.c - direct reads, which take a file opened with O_DIRECT and, to be asynchronous, an AIO context; or an
 * io_uring. Calls descriptors, disk.
 *
 * The kernel tells nobody which reads are under way, nor which pages are pinned, so the means are what is looked for.
 * Both have a mapping: AIO contexts that of their ring (fs/aio.c, aio_setup_ring), io_urings that of their queues.
 * Reads of files without O_DIRECT are done by the time io_submit(2) returns; an io_uring may have fixed buffers too,
 * and workers of its own. A synchronous read has ended when its thread is stopped. Where the means are there a disk that
 * has no requests tells that no read is under way.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "descriptors.h"
#include "direct_io.h"
#include "disk.h"

struct look {
	struct disk_look disk;
	struct reason why; /* what stands against a proof */
};

static bool is_file(const char *link)
{
	return strncmp(link, "socket:", 7) && strncmp(link, "pipe:", 5) && strncmp(link, "anon_inode:", 11);
}

/* 1, 0 or a negative errno. */
static int is_direct(void *ctx, const char *fd, const char *link)
{
	const int pid = *(const int *)ctx;
	char flags[32];
	int err;

	if (!is_file(link))
		return 0;
	err = descriptors_info(pid, fd, "flags", flags, sizeof(flags));
	if (err)
		return err == -ENOENT ? 0 : err;
	return !!(strtoul(flags, NULL, 8) & O_DIRECT);
}

/* 1 if it is read directly, and a read may be under way; 0 or a negative errno. */
static int is_being_read(void *ctx, const char *fd, const char *link)
{
	struct look *look = ctx;
	const int direct = is_direct(&look->disk.pid, fd, link);

	return direct > 0 ? !!disk_settle(&look->disk, fd, &look->why) : direct;
}

static bool has_io_uring(const struct areas *areas, struct reason *why)
{
	if (!strstr(areas->text, "anon_inode:[io_uring]"))
		return false;
	reason_set(why, 0, "reads by its io_uring may be under way, which write past its page tables");
	return true;
}

bool direct_io_possible(int pid, const struct areas *areas, struct reason *why)
{
	int direct;

	if (has_io_uring(areas, why))
		return true;
	direct = descriptors_each(pid, is_direct, &pid);
	if (direct > 0)
		reason_set(why, 0, "reads with O_DIRECT may be under way, which write past its page tables");
	else if (direct < 0)
		reason_set(why, 0, "cannot see whether reads with O_DIRECT may be under way: %s", strerror(-direct));
	return direct;
}

bool direct_io_under_way(int pid, const struct areas *areas, struct reason *why)
{
	struct look look = { .disk.pid = pid };
	int direct;

	if (has_io_uring(areas, why))
		return true;
	if (!strstr(areas->text, "/[aio]"))
		return false;
	direct = descriptors_each(pid, is_being_read, &look);
	if (direct > 0)
		reason_set(why, 0,
			   "asynchronous reads with O_DIRECT may be under way, which write past its page tables: %s",
			   look.why.text);
	else if (direct < 0)
		reason_set(why, 0, "cannot see whether asynchronous reads with O_DIRECT may be under way: %s",
			   strerror(-direct));
	return direct;
}
