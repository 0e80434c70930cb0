/* SPDX-License-Identifier: GPL-2.0-only */
/* The size of a huge page: 2 MiB, or 32 MiB and more where the small ones are larger than 4 KiB. */
#ifndef TRACK_HUGE_H
#define TRACK_HUGE_H

#include <stdio.h>

/* A kernel without transparent huge pages knows none: then the size does not matter, and 2 MiB are little memory. */
static inline size_t huge_page_size(void)
{
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "re");
	size_t size;

	if (!file)
		return 2 << 20;
	if (fscanf(file, "%zu", &size) != 1)
		size = 2 << 20;
	fclose(file);
	return size;
}

#endif
