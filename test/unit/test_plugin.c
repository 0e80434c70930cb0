// SPDX-License-Identifier: GPL-2.0-only
/*
 * The built plugin in a program that loads it as the next CRIU does: its loader as of September 2026 knows hooks that are not
 * known here and descriptors of another version and length, and takes from each what it says that it has.
 */
#include <criu/criu-plugin.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>

#include "unit.h"

/* criu/include/criu-plugin.h there: version 0.3.0, and hooks 15 (UPDATE_INETSK) and 16 (DUMP_FINISH). */
#define NEXT_VERSION CRIU_PLUGIN_GEN_VERSION(0, 3, 0)
#define NEXT_HOOKS   17

/* Its table of hooks: a list of plugins, and one for each hook. By its size the plugin tells CRIU before 4.0. */
__attribute__((visibility("default"))) struct {
	void *head[2];
	void *hook_chain[NEXT_HOOKS][2];
} cr_plugin_ctl;

static void its_descriptor_is_taken(void **state)
{
	void *plugin = dlopen(PAGESCAN_SBINDIR "/pagescan_plugin.so", RTLD_LAZY);
	const cr_plugin_desc_t *desc = plugin ? dlsym(plugin, "CR_PLUGIN_DESC") : NULL;
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	(void)state;
	if (!desc)
		fail_msg("%s", dlerror());
	/* What a loader that is newer refuses, "Corrupted plugin", is more than it has. */
	assert_true(desc->version >= CRIU_PLUGIN_GEN_VERSION(0, 2, 0) && desc->version <= NEXT_VERSION);
	assert_int_equal(desc->max_hooks, CR_PLUGIN_HOOK__PAUSE_DEVICES + 1);
	assert_string_equal(desc->name, "pagescan");
	/* Nothing is read beyond the object, and no length tells of fields that came later. */
	assert_true(dladdr1(desc, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol);
	assert_true(symbol->st_size >= offsetof(cr_plugin_desc_t, hooks) + desc->max_hooks * sizeof(void *));
	assert_null(dlsym(plugin, "CR_PLUGIN_DESC_SIZE"));
	/* One hook, under the number that it has in every CRIU since 4.0. */
	for (unsigned int i = 0; i < desc->max_hooks; i++)
		assert_int_equal(!desc->hooks[i], i != CR_PLUGIN_HOOK__PAUSE_DEVICES);
	/* In what is not CRIU it does nothing, in every stage, and leaves each hook to the next plugin. */
	for (int stage = 0; stage < CR_PLUGIN_STAGE_MAX; stage++) {
		assert_int_equal(desc->init(stage), 0);
		assert_int_equal(((int (*)(int))(uintptr_t)desc->hooks[CR_PLUGIN_HOOK__PAUSE_DEVICES])(1), -ENOTSUP);
		desc->exit(stage, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_descriptor_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
