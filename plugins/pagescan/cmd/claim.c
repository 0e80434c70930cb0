// SPDX-License-Identifier: GPL-2.0-only
/*
 * claim.c - locks in a file of the keeper's directory, a byte for each pid. Calls tree, keeper_dir_open, the kernel.
 *
 * Two of them would take each other's rounds for a stranger's and copy everything each time, and in the end one
 * would find its processes gone. The kernel gives a lock back whatever ends who holds it.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "claim.h"
#include "cmd.h"
#include "copy/tree.h"
#include "track/keeper.h"

/* Of this open file, fcntl_locking(2): children that outlive us for a moment hold it as well. */
static bool is_taken(int file, int pid)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = pid, .l_len = 1 };

	return fcntl(file, F_OFD_SETLK, &lock) < 0 && (errno == EAGAIN || errno == EACCES);
}

bool claim_tree(int root)
{
	struct tree tree = { 0 };
	struct reason why;
	const int dir = keeper_dir_open(&why);
	/* It stays open. */
	const int file = dir < 0 ? -1 : openat(dir, "claims", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int taken = 0;

	(void)tree_read(&tree, root);
	for (size_t i = 0; file >= 0 && !taken && i < tree.nr; i++)
		taken = is_taken(file, tree.v[i].pid) ? tree.v[i].pid : 0;
	if (taken)
		complain("process %d is being dumped or moved by another pagescan already", taken);
	tree_fini(&tree);
	if (dir >= 0)
		close(dir);
	return !taken;
}
