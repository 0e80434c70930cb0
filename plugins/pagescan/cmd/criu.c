// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu.c - pagescan criu ARGS...: run criu with the plugin preloaded. Calls find_criu, breakpoints, exec.
 *
 * PAGESCAN_CRIU may name a script, and that may be the launcher or run `pagescan criu` otherwise. Then this program
 * runs a second time, with the first one's variables in its environment.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

#define PLUGIN		    "pagescan_plugin.so"
#define CRIU_DEFAULT_LIBDIR "/usr/lib/criu" /* criu/include/plugin.h, CR_PLUGIN_DEFAULT */

#define FI_NO_BREAKPOINTS "130"

/* Beside this program in a build tree, where `make install` put it otherwise. */
static bool find_plugin(char path[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len > 0) {
		self[len] = '\0';
		*strrchr(self, '/') = '\0';
		if (snprintf(path, PATH_MAX, "%s/" PLUGIN, self) < PATH_MAX && !access(path, R_OK))
			return true;
	}
	snprintf(path, PATH_MAX, "%s/" PLUGIN, PAGESCAN_PLUGINDIR);
	return !access(path, R_OK);
}

/*
 * CRIU's own mechanism tells the plugin when a pre-dump begins. It looks in one directory only, which is left to the
 * user's choice, or CRIU's default where the plugin lies there.
 */
static void offer_plugin_directory(const char *plugin)
{
	char *dir = strdup(plugin);

	if (dir) {
		*strrchr(dir, '/') = '\0';
		if (strcmp(dir, CRIU_DEFAULT_LIBDIR) && !getenv("CRIU_LIBS_DIR")) {
			setenv("CRIU_LIBS_DIR", dir, 1);
			setenv("PAGESCAN_LIBS_DIR", dir, 1); /* for the plugin to take it back */
		}
	}
	free(dir);
}

/*
 * The dynamic loader takes LD_PRELOAD apart at colons and spaces. What was in it before is kept aside for the plugin
 * to put back, so that nothing but criu itself is preloaded.
 */
static bool preload(const char *plugin)
{
	const char *before = getenv("LD_PRELOAD");
	char *list = NULL;
	bool done;

	if (strpbrk(plugin, ": ")) {
		complain("the plugin's path must not contain a colon or a space: %s", plugin);
		return false;
	}
	if (asprintf(&list, "%s%s%s", plugin, before && *before ? ":" : "", before ? before : "") < 0)
		list = NULL;
	done = list && !setenv("PAGESCAN_LD_PRELOAD", before ? before : "", 1) && !setenv("LD_PRELOAD", list, 1);
	free(list);
	if (!done)
		complain("out of memory");
	return done;
}

/* The second time the criu in PATH is meant, or this would go on for ever. */
static void come_back(void)
{
	const char *before = getenv("PAGESCAN_LD_PRELOAD");

	if (!before)
		return;
	unsetenv("PAGESCAN_CRIU");
	if (!*before || setenv("LD_PRELOAD", before, 1))
		unsetenv("LD_PRELOAD");
}

/* A fault by which criu is told to do without them (criu/include/fault-injection.h), unless it was given another one. */
static void do_without_breakpoints(void)
{
	if (!getenv("CRIU_FAULT") && !breakpoints_work())
		setenv("CRIU_FAULT", FI_NO_BREAKPOINTS, 1);
}

int exec_criu(char **argv)
{
	char plugin[PATH_MAX];
	char *criu;
	bool ready;

	come_back();
	criu = need_criu();
	if (!criu)
		return 127;
	if (!find_plugin(plugin)) {
		complain("cannot find " PLUGIN " beside this program or in " PAGESCAN_PLUGINDIR);
		free(criu);
		return EXIT_FAILED;
	}
	offer_plugin_directory(plugin);
	do_without_breakpoints();
	ready = ignores_preload(criu);
	if (ready)
		complain("%s has capabilities or a set-id bit: LD_PRELOAD is ignored, criu goes on alone "
			 "(`setcap -r` mends it)",
			 criu);
	else
		ready = preload(plugin);
	if (ready) {
		argv[0] = criu;
		execv(criu, argv);
		complain("cannot run %s: %s", criu, strerror(errno));
	}
	free(criu);
	return EXIT_FAILED;
}

int cmd_criu(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--help"))
		puts("Usage: pagescan criu ARGUMENTS...\n"
		     "Runs criu with these arguments and the plugin preloaded. $PAGESCAN_CRIU names another criu than\n"
		     "the one in PATH. What follows is criu's own help.\n");
	fflush(stdout);
	return exec_criu(argv);
}
