// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin.c - how the plugin comes into a CRIU process: preloaded by `pagescan criu`, or loaded by CRIU's own plugin
 * mechanism. Calls device, landing, locks, round, service, slots, smaps, criu, probe, keeper.
 *
 * CRIU unloads plugins before its images are complete (cr_plugin_fini), so the object is linked with -z nodelete.
 */
#include <criu/criu-plugin.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "landing.h"
#include "locks.h"
#include "log.h"
#include "round.h"
#include "service.h"
#include "smaps.h"
#include "track/keeper.h"

#define PUBLIC __attribute__((visibility("default")))

/*
 * The device is in the slots. Visible, so that a second copy of the plugin in one process (preloaded from a build
 * tree, installed in CRIU's plugin directory) sees the first one's and stands aside.
 */
PUBLIC bool pagescan_active;

/* It is this copy's. */
static bool installed;

/* On a kernel that has both trackers the user may want the other one. */
static bool soft_dirty_is_wanted(void)
{
	const char *wanted = getenv("PAGESCAN_TRACKER");

	if (!wanted || !strcmp(wanted, "uffd"))
		return false;
	if (!strcmp(wanted, "soft-dirty"))
		return true;
	pr_warn("PAGESCAN_TRACKER is neither uffd nor soft-dirty but '%s': taken for uffd\n", wanted);
	return false;
}

/* CRIU's table of hooks is a list, and one for each that it knows (criu/include/plugin.h, cr_plugin_ctl). */
static bool is_before_4_0(void)
{
	void *table = dlsym(RTLD_DEFAULT, "cr_plugin_ctl");
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	return table && dladdr1(table, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
	       symbol->st_size < sizeof(void *) * 2 * (1 + CR_PLUGIN_HOOK__PAUSE_DEVICES + 1);
}

static void start(bool detect)
{
	static bool tried;
	const char *missing = criu_find();
	struct pagescan_kernel kernel;
	struct reason why;
	struct elf elf;

	if (tried || !criu.print_on_level)
		return; /* told already; or not CRIU, or one that cannot even be told so */
	tried = true;
	if (missing) {
		pr_warn("standing aside, criu goes on alone: the executable does not export %s\n", missing);
		return;
	}
	if (is_before_4_0()) {
		pr_warn("standing aside, criu goes on alone: CRIU 4.0 or later is needed\n");
		return;
	}

	if (soft_dirty_is_wanted()) {
		pr_warn("standing aside, criu goes on alone: PAGESCAN_TRACKER=soft-dirty\n");
		return;
	}
	pagescan_probe(&kernel);
	if (!kernel.scan || !kernel.wp_async) {
		pr_warn("standing aside, criu goes on alone: this kernel has no %s (%s)\n",
			kernel.scan ? "asynchronous userfaultfd write-protection" : "PAGEMAP_SCAN",
			strerror(-(kernel.scan ? kernel.wp_async_error : kernel.scan_error)));
		return;
	}
	if (!detect && !kernel.soft_dirty) {
		pr_warn("standing aside, criu goes on alone: on a kernel without soft-dirty criu has to be run by "
			"`pagescan criu`\n");
		return;
	}

	/* Without soft-dirty criu alone would fail: better rounds that are full ones, each of which says why. */
	if ((!detect || kernel.soft_dirty) && keeper_find_program(&why)) {
		pr_warn("standing aside, criu goes on alone: %s\n", why.text);
		return;
	}

	slots_main_program(&elf);
	missing = device_install(&elf, &kernel, detect);
	if (missing) {
		pr_warn("standing aside, criu goes on alone: %s\n", missing);
		return;
	}
	pagescan_active = installed = true;
}

/* CRIU_LIBS_DIR is not the user's but `pagescan criu`'s, and only CRIU shall see it. */
static bool libs_dir_is_ours;

/* Take this object out of LD_PRELOAD again, which otherwise reaches every script that CRIU runs. */
static void forget_preload(void)
{
	const char *before = getenv("PAGESCAN_LD_PRELOAD");

	if (before && *before)
		setenv("LD_PRELOAD", before, 1);
	else
		unsetenv("LD_PRELOAD");
	unsetenv("PAGESCAN_LD_PRELOAD");
	libs_dir_is_ours = getenv("PAGESCAN_LIBS_DIR");
	unsetenv("PAGESCAN_LIBS_DIR");
}

/* `pagescan receive` runs criu: then there is nothing to track, but images to wait for. Returns whether it does. */
static bool wait_for_images(int argc, char **argv)
{
	const char *sock = getenv(LAND_VARIABLE);
	struct elf elf;

	if (!sock)
		return false;
	slots_main_program(&elf);
	locks_bind(&elf);
	if (*sock && service_restores(argc, argv))
		landing_wait(landing_socket(sock), &elf);
	unsetenv(LAND_VARIABLE);
	return true;
}

/*
 * A shell script that runs criu is preloaded too and must hand everything on: only CRIU itself is of interest. The
 * arguments are main()'s (glibc, elf/dl-init.c).
 */
static void __attribute__((constructor)) preloaded(int argc, char **argv)
{
	if (!getenv("PAGESCAN_LD_PRELOAD"))
		return;
	criu_find();
	if (!criu.print_on_level)
		return;
	forget_preload();
	if (!wait_for_images(argc, argv) && !pagescan_active)
		start(true);
}

/* The first task that CRIU is about to stop in this round is the root of the tree. */
static bool root_is_next, is_pre_dump;

static int plugin_init(int stage)
{
	/* CRIU has read it by now. */
	if (libs_dir_is_ours)
		unsetenv("CRIU_LIBS_DIR");
	if (!pagescan_active && (stage == CR_PLUGIN_STAGE__DUMP || stage == CR_PLUGIN_STAGE__PRE_DUMP))
		start(false);
	is_pre_dump = stage == CR_PLUGIN_STAGE__PRE_DUMP;
	device_set_pre_dump(is_pre_dump);
	root_is_next = installed && (is_pre_dump || stage == CR_PLUGIN_STAGE__DUMP);
	return 0;
}

static void plugin_exit(int stage, int ret)
{
	(void)stage;
	(void)ret;
	smaps_forget();
}

/* Called for each task before it is stopped (criu/seize.c). "Not supported" lets the next plugin have it too. */
static int about_to_pause(int pid)
{
	int err = root_is_next ? smaps_prepare(pid, is_pre_dump) : 0;

	if (root_is_next && !is_pre_dump)
		round_prepare();
	root_is_next = false;
	if (err)
		pr_info("flags of areas come from smaps, which in a frozen process takes time by its size: a BPF "
			"iterator over areas cannot be had: %s\n",
			strerror(-err));
	return -ENOTSUP;
}

PUBLIC cr_plugin_desc_t CR_PLUGIN_DESC = {
	.name = "pagescan",
	.init = plugin_init,
	.exit = plugin_exit,
	.version = CRIU_PLUGIN_VERSION,
	.max_hooks = CR_PLUGIN_HOOK__PAUSE_DEVICES + 1,
	.hooks = { [CR_PLUGIN_HOOK__PAUSE_DEVICES] = (void *)about_to_pause },
};

/* A descriptor with hooks that CRIU does not know is refused, and criu ends. */
static void __attribute__((constructor)) know_the_hooks(void)
{
	if (is_before_4_0())
		CR_PLUGIN_DESC.max_hooks = 0;
}
