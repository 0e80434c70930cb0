/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * page.h - a chain of rounds as one HTML page that needs nothing beside it.
 */
#ifndef PAGESCAN_REPORT_PAGE_H
#define PAGESCAN_REPORT_PAGE_H

#include <stdio.h>

#include "map.h"

/* Write the page about the chain that its user calls @title. Whether that could be is told by ferror(3). */
void page_write(FILE *out, const char *title, const struct history *history, const struct map *map);

#endif
