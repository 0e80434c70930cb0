// SPDX-License-Identifier: GPL-2.0-only
/*
 * reason.c - put a reason into words. Calls libc only.
 */
#include <stdarg.h>
#include <stdio.h>

#include "reason.h"

int reason_set(struct reason *why, int err, const char *format, ...)
{
	va_list args;

	if (!why)
		return err;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return err;
}
