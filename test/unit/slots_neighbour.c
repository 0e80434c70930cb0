// SPDX-License-Identifier: GPL-2.0-only
/* Another library that calls what slots_program.c rebinds: its calls must stay libc's. */
#include <unistd.h>

pid_t neighbour_getppid(void);

__attribute__((visibility("default"))) pid_t neighbour_getppid(void)
{
	return getppid();
}
