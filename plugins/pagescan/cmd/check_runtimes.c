// SPDX-License-Identifier: GPL-2.0-only
/*
 * check_runtimes.c - what container runtimes get: which criu, and whether it makes their checkpoints incremental. Calls
 * find, the runtimes, libdl.
 *
 * A runtime runs what it finds in its PATH, which need not be that of the shell. It asks that criu whether memory can be
 * tracked, and refuses a pre-checkpoint if not.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "cmd.h"

#define BARE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* crun's way to criu (crun, src/libcrun/criu.c). */
#define LIBCRIU "libcriu.so.2"

struct machine {
	const struct pagescan_kernel *kernel;
	bool breakpoints;
	const struct item *criu;
};

/* Before 4.2 criu does not find out by itself that there are none (breakpoints.c). */
static bool hangs(const struct machine *machine, const char *version)
{
	int major = 0, minor = 0;

	return !machine->breakpoints && sscanf(version, "Version: %d.%d", &major, &minor) == 2 &&
	       major * 100 + minor < 402;
}

/* Returns what keeps a runtime with this criu from pre-checkpoints, NULL for nothing. */
static const char *check_path(struct item *item, const char *name, const char *path, const struct machine *machine)
{
	enum criu_way way;
	char *criu = criu_of_others(path, &way), version[64];
	const char *why_not = NULL;

	if (!criu) {
		item_set(item, name, false, false,
			 "there is no criu in %s (`apt install criu-pagescan-divert` brings one)", path);
		return "there is no criu in PATH (`apt install criu-pagescan-divert` brings one)";
	}
	if (!criu_version(criu, version, sizeof(version))) {
		item_set(item, name, false, false, "%s cannot be run (its `--version` says why)", criu);
		why_not = "the criu in PATH cannot be run (`criu --version` says why)";
	} else if (way != CRIU_PLAIN) {
		item_set(item, name, false, true, "%s, a launcher%s", criu,
			 way == CRIU_DIVERTED ? " in the place of the real one, which is criu.distrib" : "");
		if (!machine->criu->yes)
			why_not = machine->criu->why;
	} else {
		item_set(item, name, false, false,
			 "%s, plain%s: `apt install criu-pagescan-divert` puts a launcher in its place, "
			 "`make install LAUNCHERDIR=DIRECTORY` one into a directory before it",
			 criu,
			 hangs(machine, version)     ? ", and it hangs on this machine (see breakpoints)" :
			 machine->kernel->soft_dirty ? ", which tracks by soft-dirty" :
						       "");
		if (!machine->kernel->soft_dirty || hangs(machine, version))
			why_not = "the criu in PATH is plain (`apt install criu-pagescan-divert`)";
	}
	free(criu);
	return why_not;
}

static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	char *list = strdup(path ? path : BARE_PATH), *rest = list, *dir, *found = NULL;

	while (!found && (dir = strsep(&rest, ":"))) {
		if (asprintf(&found, "%s/%s", *dir ? dir : ".", name) < 0) {
			found = NULL;
		} else if (access(found, X_OK)) {
			free(found);
			found = NULL;
		}
	}
	free(list);
	return found;
}

/* As podman asks its runtime (libpod: CRRuntimeSupportsCheckpointRestore). */
static bool has_checkpoint(const char *program)
{
	FILE *out;

	setenv("PAGESCAN_CHECK", program, 1); /* a path needs no quoting this way */
	out = popen("exec \"$PAGESCAN_CHECK\" checkpoint --help >/dev/null 2>&1 </dev/null", "re");
	return out && !pclose(out);
}

static bool has_libcriu(void)
{
	void *library = dlopen(LIBCRIU, RTLD_LAZY | RTLD_LOCAL);

	if (library)
		dlclose(library);
	return library;
}

/* @why_not: what keeps every runtime from it, NULL for nothing. Returns whether it is installed. */
static bool check_oci(struct item *item, const char *name, const char *why_not)
{
	char *program = find_program(name);
	const bool installed = program;

	if (!installed)
		item_set(item, name, false, false, "not installed (`apt install %s`)", name);
	else if (!has_checkpoint(program))
		item_set(item, name, false, false, "%s was built without criu; runc (`apt install runc`) was not",
			 program);
	else if (!strcmp(name, "crun") && !has_libcriu())
		item_set(item, name, false, false, "%s lacks " LIBCRIU " (`apt install libcriu2`)", program);
	else if (why_not)
		item_set(item, name, false, false, "%s: %s", program, why_not);
	else
		item_set(item, name, false, true, "%s, pre-checkpoints work", program);
	free(program);
	return installed;
}

/* It takes crun where there is one, else runc, unless containers.conf(5) says otherwise. */
static void check_podman(struct item *item, const struct item *runc, const struct item *crun, bool has_crun)
{
	char *program = find_program("podman");

	if (!program)
		item_set(item, "podman", false, false, "not installed (`apt install podman`)");
	else if (crun->yes)
		item_set(item, "podman", false, true, "%s over crun%s", program, runc->yes ? " or runc" : "");
	else if (runc->yes)
		item_set(item, "podman", false, true, "%s over runc%s%s", program, has_crun ? ": " : "",
			 has_crun ? "`podman --runtime runc`, or runtime = \"runc\" in containers.conf(5)" : "");
	else
		item_set(item, "podman", false, false, "%s takes %s", program, has_crun ? crun->why : runc->why);
	free(program);
}

void check_runtimes(struct item items[RUNTIME_ITEMS], const struct pagescan_kernel *kernel, bool breakpoints,
		    const struct item *criu)
{
	const struct machine machine = { kernel, breakpoints, criu };
	const char *path = getenv("PATH"), *why_not;
	bool has_crun;

	why_not = check_path(&items[0], "runtime", path ? path : "", &machine);
	check_path(&items[1], "runtime_bare", BARE_PATH, &machine);
	if ((!kernel->scan || !kernel->wp_async) && !kernel->soft_dirty)
		why_not = "this kernel cannot track memory";
	check_oci(&items[2], "runc", why_not);
	has_crun = check_oci(&items[3], "crun", why_not);
	check_podman(&items[4], &items[2], &items[3], has_crun);
}
