/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * device.h - the soft-dirty device: functions that take the place of libc's in CRIU's import slots.
 *
 * Each does what libc's does, except for the few files in /proc/PID by which CRIU talks to the memory tracker
 * (pagescan-criu.h) and the file in which it keeps what it knows of the kernel.
 */
#ifndef PAGESCAN_BIND_DEVICE_H
#define PAGESCAN_BIND_DEVICE_H

#include <pagescan.h>

#include "slots.h"

/*
 * Put the device into the slots of @elf. @kernel: what it offers. @detect: CRIU has not looked for memory tracking
 * yet (the plugin is preloaded), so answer that too, with a feature cache apart from plain criu's. Call it once, while
 * no other thread runs (slots_bind).
 * Returns NULL or, in words of the device's own, what is missing; then no slot was changed.
 */
const char *device_install(const struct elf *elf, const struct pagescan_kernel *kernel, bool detect);

/* CRIU begins a pre-dump, or something else. Unless told, it is something else. */
void device_set_pre_dump(bool pre_dump);

#endif
