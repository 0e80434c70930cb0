// SPDX-License-Identifier: GPL-2.0-only
/*
 * keeper.c - pagescan keeper: be the keeper. The plugin starts it; by hand only to see why it would not start.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "cmd.h"
#include "track/keeper.h"

/* The plugin hands its end of a pipe over as descriptor 3 (keeper_spawn). */
#define READY 3

int cmd_keeper(int argc, char **argv)
{
	struct reason why;
	struct stat st;
	int err = parse_options(argc, argv, "keeper", NULL, 0, 0);

	if (err >= 0)
		return err;
	err = keeper_serve(!fstat(READY, &st) && S_ISFIFO(st.st_mode) ? READY : -1, &why);
	if (!err)
		return EXIT_SUCCESS;
	complain("%s", why.text);
	return EXIT_FAILED;
}
