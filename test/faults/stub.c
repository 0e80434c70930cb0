// SPDX-License-Identifier: GPL-2.0-only
/*
 * stub.c - to the plugin it looks like criu: it exports what the plugin asks for and imports what the plugin rebinds,
 * by slots that are read-only (-z relro -z now). It tells whether the plugin is active: exit status 0, or 1.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define PRESENT(name)    \
	void name(void); \
	void name(void)  \
	{                \
		abort(); \
	}
PRESENT(compel_prepare)
PRESENT(compel_syscall)
PRESENT(compel_infect_ctx)
PRESENT(compel_cure_local)
PRESENT(criu_get_image_dir)

void print_on_level(unsigned int level, const char *format, ...);
void print_on_level(unsigned int level, const char *format, ...)
{
	va_list args;

	if (level > 2)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
}

static bool is_plugins(uintptr_t function)
{
	Dl_info info;

	return dladdr((void *)function, &info) && strstr(info.dli_fname, "/pagescan_plugin.so");
}

int main(void)
{
	const volatile uintptr_t functions[] = {
		(uintptr_t)openat64, (uintptr_t)ioctl,	 (uintptr_t)write,
		(uintptr_t)read,     (uintptr_t)pread64, (uintptr_t)process_vm_readv,
		(uintptr_t)open64,   (uintptr_t)rename,	 (uintptr_t)unlink,
	};
	const size_t nr = sizeof(functions) / sizeof(*functions);
	const bool *active = dlsym(RTLD_DEFAULT, "pagescan_active");
	size_t bound = 0;

	for (size_t i = 0; i < nr; i++)
		bound += is_plugins(functions[i]);
	if (!active || bound != (*active ? nr : 0))
		abort();
	return *active ? 0 : 1;
}
