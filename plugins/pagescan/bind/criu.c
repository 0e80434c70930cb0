// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu.c - find CRIU's functions in the running program. Calls libdl.
 */
#include <dlfcn.h>
#include <stddef.h>

#include <pagescan-criu.h>

struct criu criu;

const char *criu_find(void)
{
	const struct {
		const char *name;
		void **at;
		bool optional;
	} wanted[] = {
		{ "compel_prepare", (void **)&criu.compel_prepare, false },
		{ "compel_syscall", (void **)&criu.compel_syscall, false },
		{ "compel_infect_ctx", (void **)&criu.compel_infect_ctx, false },
		{ "compel_cure_local", (void **)&criu.compel_cure_local, false },
		{ "criu_get_image_dir", (void **)&criu.criu_get_image_dir, false },
		{ "print_on_level", (void **)&criu.print_on_level, false },
		{ "page_in_parent", (void **)&criu.page_in_parent, true },
		{ "cnt_add", (void **)&criu.cnt_add, true },
	};
	void *self = dlopen(NULL, RTLD_LAZY);
	const char *missing = NULL;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		*wanted[i].at = self ? dlsym(self, wanted[i].name) : NULL;
		if (!*wanted[i].at && !wanted[i].optional && !missing)
			missing = wanted[i].name;
	}
	if (self)
		dlclose(self);
	return missing;
}
