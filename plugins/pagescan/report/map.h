/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * map.h - which areas of memory the rounds of a chain hold: how much of each, and where in it.
 */
#ifndef PAGESCAN_REPORT_MAP_H
#define PAGESCAN_REPORT_MAP_H

#include "history.h"

/* An area is looked at in so many parts, or by pages where it has fewer. */
#define MAP_BINS 48

/* Areas that are looked at so closely: those written most. The others are summed up. */
#define MAP_SHOWN 40

/* Bytes that a round holds, and that it leaves to its parent. */
struct map_bytes {
	uint64_t held;
	uint64_t parent;
};

/*
 * [start, end), in bytes, of task @id, which calls itself @command ("" if nobody tells), or of shared memory number
 * @id. @name is what lies there, "" if nobody tells. @rounds: one element a round. @rewritten: what rounds after the
 * first one that has the area hold of it. @bins: MAP_BINS elements a round, NULL unless the area is shown.
 */
struct map_area {
	uint64_t id;
	uint64_t start;
	uint64_t end;
	bool shared;
	char command[16];
	const char *name;
	struct map_bytes *rounds;
	struct map_bytes *bins;
	uint64_t rewritten;
};

/* A file that tasks have mapped. */
struct map_file {
	uint32_t id;
	char *path;
};

/*
 * All areas, by address; some may turn out to hold nothing. @shown: the @nr_shown written most, most first. @others:
 * what the @nr_others other ones hold together, one element a round. @files: what names point to.
 */
struct map {
	struct map_area *v;
	size_t nr;
	struct map_area *shown[MAP_SHOWN];
	size_t nr_shown;
	struct map_bytes *others;
	size_t nr_others;
	struct map_file *files;
	size_t nr_files;
};

/*
 * Read where the rounds' pages belong. What an area is, and where it begins, is told by the last round if that is a
 * dump; else, pages less than a megabyte apart are one area. Returns 0, and map_fini() is due; or a negative errno with
 * @why.
 */
int map_read(struct map *map, const struct history *history, struct reason *why);
void map_fini(struct map *map);

#endif
