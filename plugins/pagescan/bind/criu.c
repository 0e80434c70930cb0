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
	} wanted[] = {
		{ "compel_prepare", (void **)&criu.compel_prepare },
		{ "compel_syscall", (void **)&criu.compel_syscall },
		{ "compel_infect_ctx", (void **)&criu.compel_infect_ctx },
		{ "compel_cure_local", (void **)&criu.compel_cure_local },
		{ "criu_get_image_dir", (void **)&criu.criu_get_image_dir },
		{ "print_on_level", (void **)&criu.print_on_level },
	};
	void *self = dlopen(NULL, RTLD_LAZY);
	const char *missing = NULL;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		*wanted[i].at = self ? dlsym(self, wanted[i].name) : NULL;
		if (!*wanted[i].at && !missing)
			missing = wanted[i].name;
	}
	if (self)
		dlclose(self);
	return missing;
}
