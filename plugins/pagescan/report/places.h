/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * places.h - which areas of memory there are in a chain, and what lies there.
 */
#ifndef PAGESCAN_REPORT_PLACES_H
#define PAGESCAN_REPORT_PLACES_H

#include "map.h"

/*
 * Fill the map's areas, ordered by kind, id and address, and its files. Returns 0 or a negative errno, with @why or
 * without.
 */
int places_find(struct map *map, const struct history *history, struct reason *why);

/* The areas of a task or of shared memory: from *begin up to *end, perhaps none. */
void places_of(const struct map *map, uint64_t id, bool shared, struct map_area **begin, struct map_area **end);

#endif
