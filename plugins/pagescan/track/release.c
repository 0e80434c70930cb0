// SPDX-License-Identifier: GPL-2.0-only
/*
 * release.c - let go of a task's memory by and by. Calls scan (areas), identity, registered, uffd, keeper, clock.
 *
 * When a userfaultfd closes, the kernel writes to each page table entry of all that is registered, and holds the lock of the
 * memory map all the while (fs/userfaultfd.c, userfaultfd_release): whoever maps memory, or writes to a page, waits. So most
 * is unregistered before, in pieces. What stays, as something failed, is let go by the closing.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "clock.h"
#include "identity.h"
#include "keeper.h"
#include "registered.h"
#include "release.h"
#include "uffd.h"

/*
 * What one table of entries, 8 bytes each, maps. The kernel splits the area at the end of a piece, and makes it whole with the
 * next one; within a huge page, which is as large, it would split that for good.
 */
static uint64_t piece_size(void)
{
	return pagescan_page_size() * (pagescan_page_size() / 8);
}

/*
 * Registering fails where another's userfaultfd watches; older kernels would let us end its registration. But it could
 * turn a registration that was lost a moment ago, with writes that nobody saw, into one that looks whole, to a round that
 * is on its way. So whatever protection is there is taken off first, which fails where nothing is registered.
 */
static bool is_ours(int uffd, uint64_t start, uint64_t end)
{
	return !uffd_unprotect(uffd, start, end) && !uffd_register(uffd, start, end);
}

/*
 * An area of a file is left to the closing: where a driver is told of its end the kernel does not make it whole again. *since is
 * the task's (clock_share), as many small areas are no less work than a large one.
 */
static void release_area(int uffd, const struct area *area, uint64_t *since)
{
	uint64_t start = area->start, stop;

	if (!area->ours || area->file)
		return;
	for (; start < area->end; start = stop) {
		stop = (start | (piece_size() - 1)) + 1;
		if (stop > area->end)
			stop = area->end;
		if (start == area->start && !is_ours(uffd, start, stop))
			return;
		if (uffd_unregister(uffd, start, stop))
			return;
		/* The task may have been waiting for the lock, or has to have its page tables looked at. */
		*since = clock_share(*since);
	}
}

static void release_areas(int proc_dir, int uffd)
{
	int pagemap = openat(proc_dir, "pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t since = clock_work();
	struct areas areas;

	if (pagemap < 0)
		return;
	if (!areas_read(proc_dir, &areas)) {
		registered_find(pagemap, &areas);
		for (size_t i = 0; i < areas.nr; i++)
			release_area(uffd, &areas.v[i], &since);
		areas_fini(&areas);
	}
	close(pagemap);
}

static void release_memory(int32_t pid)
{
	struct identity id;
	struct epoch epoch;
	int dir = identity_open(pid), uffd;

	if (dir < 0)
		return;
	if (!identity_read(dir, &id) && !keeper_get(&id, &epoch, &uffd, NULL)) {
		release_areas(dir, uffd);
		close(uffd);
	}
	close(dir);
}

static int visit(void *ctx, const struct keeper_entry *entry)
{
	(void)ctx;
	release_memory(entry->id.pid);
	return 0;
}

int release(int32_t pid, int *dropped, struct reason *why)
{
	if (pid)
		release_memory(pid);
	else
		(void)keeper_list(visit, NULL, why);
	return keeper_drop(pid, dropped, why);
}
