// SPDX-License-Identifier: GPL-2.0-only
/*
 * untrack.c - pagescan untrack PID|--all: what is protected is let go, and the keeper forgets it. Calls release.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "track/release.h"

#define USAGE "untrack PID|--all\nStops tracking a task's memory, or every task's. Its next round is a full one."

int cmd_untrack(int argc, char **argv)
{
	struct reason why;
	int pid = 0, dropped, err;

	if (argc != 2 || strcmp(argv[1], "--all")) {
		err = parse_options(argc, argv, USAGE, NULL, 1, 1);
		if (err >= 0)
			return err;
		pid = parse_pid(argv[1]);
		if (!pid)
			return EXIT_USAGE;
	}

	err = release(pid, &dropped, &why);
	if (err && err != -ENOENT) {
		complain("%s", why.text);
		return EXIT_FAILED;
	}
	if (pid && !dropped) {
		complain("%d is not tracked", pid);
		return EXIT_FAILED;
	}
	printf("%d task%s untracked\n", dropped, dropped == 1 ? "" : "s");
	return EXIT_SUCCESS;
}
