/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * same_file.h - whether two stat(2) are of one file or directory. Names and descriptors come and go in CRIU; that does not.
 */
#ifndef PAGESCAN_BIND_SAME_FILE_H
#define PAGESCAN_BIND_SAME_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

static inline bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

#endif
