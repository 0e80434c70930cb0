/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * claim.h - only one pagescan at a time dumps or moves a process.
 */
#ifndef PAGESCAN_CMD_CLAIM_H
#define PAGESCAN_CMD_CLAIM_H

#include <stdbool.h>

/*
 * Claim the tree @root, as it is now, for as long as this process lives. Returns false after a complaint if another pagescan
 * of this user has one of its processes. Where there is no place to claim anything (keeper_dir_open) it is true.
 */
bool claim_tree(int root);

#endif
