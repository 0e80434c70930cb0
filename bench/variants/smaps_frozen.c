// SPDX-License-Identifier: GPL-2.0-only
/*
 * smaps_frozen.c - the benchmark's smaps.o for a plugin that lets CRIU read the real smaps while the task is stopped.
 */
#include "bind/smaps.h"

int smaps_prepare(int pid, bool pre_dump)
{
	(void)pid;
	(void)pre_dump;
	return 0;
}

int smaps_open(const struct identity *id, const char *maps)
{
	(void)id;
	(void)maps;
	return -1;
}

void smaps_forget(void)
{
}
