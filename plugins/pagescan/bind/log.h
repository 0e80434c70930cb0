/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * log.h - lines in CRIU's log, in its own form ("Warn  (file:line): ", criu/include/log.h), each with the prefix
 * pagescan:. Arguments as of printf, the newline with them; criu_find() has found the printer by then.
 */
#ifndef PAGESCAN_BIND_LOG_H
#define PAGESCAN_BIND_LOG_H

#include <pagescan-criu.h>

#define pr_info(format, ...) criu.print_on_level(CRIU_LOG_INFO, "pagescan: " format, ##__VA_ARGS__)
#define pr_warn(format, ...) \
	criu.print_on_level(CRIU_LOG_WARN, "Warn  (%s:%d): pagescan: " format, __FILE__, __LINE__, ##__VA_ARGS__)

#define pr_err(format, ...) \
	criu.print_on_level(CRIU_LOG_ERROR, "Error (%s:%d): pagescan: " format, __FILE__, __LINE__, ##__VA_ARGS__)

#endif
