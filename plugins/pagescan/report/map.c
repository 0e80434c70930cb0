// SPDX-License-Identifier: GPL-2.0-only
/*
 * map.c - add up a chain's pagemap images by area. Calls places, image.
 *
 * The images are read twice more: to add up all areas, and then to look closely at those that are shown, so that memory
 * is taken for those alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pagescan.h>

#include "image/visit.h"
#include "places.h"

/* One round's images on their way into the areas. */
struct pass {
	struct map *map;
	int dir;
	size_t round;
	bool closely;
	struct map_area *area; /* of the task that is read, the first that ends behind the last run's begin */
	struct map_area *end;
};

static void add(struct map_bytes *bytes, bool held, uint64_t size)
{
	*(held ? &bytes->held : &bytes->parent) += size;
}

/* Spread [start, end) of an area over its bins. */
static void add_to_bins(const struct map_area *area, struct map_bytes *bins, uint64_t start, uint64_t end, bool held)
{
	const uint64_t page = pagescan_page_size();
	const uint64_t pages = (area->end - area->start) / page;
	const uint64_t nr = pages < MAP_BINS ? pages : MAP_BINS;
	uint64_t first = (start - area->start) / page, last = (end - area->start) / page;

	while (first < last) {
		/* Bin i begins at page i * pages / nr, rounded up. */
		uint64_t bin = first * nr / pages;
		uint64_t next = ((bin + 1) * pages + nr - 1) / nr;

		if (next > last)
			next = last;
		add(&bins[bin], held, (next - first) * page);
		first = next;
	}
}

static int add_run(void *ctx, const struct visit_run *run)
{
	struct pass *pass = ctx;

	while (pass->area < pass->end && pass->area->end <= run->start)
		pass->area++;
	for (struct map_area *area = pass->area; area < pass->end && area->start < run->end; area++) {
		uint64_t start = run->start > area->start ? run->start : area->start;
		uint64_t end = run->end < area->end ? run->end : area->end;

		if (start >= end)
			continue;
		if (!pass->closely)
			add(&area->rounds[pass->round], run->held, end - start);
		else if (area->bins)
			add_to_bins(area, &area->bins[pass->round * MAP_BINS], start, end, run->held);
	}
	return 0;
}

static int add_image(void *ctx, const char *name, uint64_t id, bool shared)
{
	struct pass *pass = ctx;

	places_of(pass->map, id, shared, &pass->area, &pass->end);
	return image_visit_runs(pass->dir, name, add_run, pass);
}

static int add_rounds(struct map *map, const struct history *history, bool closely)
{
	int err = 0;

	for (size_t i = 0; !err && i < history->nr; i++) {
		struct pass pass = { .map = map, .dir = history->v[i].dir, .round = i, .closely = closely };

		err = history_each_image(pass.dir, add_image, &pass);
	}
	return err;
}

static int by_heat(const void *a, const void *b)
{
	const struct map_area *x = *(struct map_area *const *)a, *y = *(struct map_area *const *)b;

	if (x->rewritten != y->rewritten)
		return x->rewritten < y->rewritten ? 1 : -1;
	return x < y ? -1 : 1;
}

/* What is written in the first round that knows an area is not hot, it is new. Returns whether any round knows it. */
static bool find_rewritten(struct map_area *area, size_t nr_rounds)
{
	bool known = false;

	for (size_t i = 0; i < nr_rounds; i++) {
		if (known)
			area->rewritten += area->rounds[i].held;
		known = known || area->rounds[i].held || area->rounds[i].parent;
	}
	return known;
}

/* The first of the ranked areas are shown, the others added up. */
static int choose_shown(struct map *map, struct map_area **ranked, size_t nr, size_t nr_rounds)
{
	for (; map->nr_shown < nr && map->nr_shown < MAP_SHOWN; map->nr_shown++) {
		struct map_area *area = ranked[map->nr_shown];

		map->shown[map->nr_shown] = area;
		area->bins = calloc(nr_rounds * MAP_BINS, sizeof(*area->bins));
		if (!area->bins)
			return -ENOMEM;
	}
	map->nr_others = nr - map->nr_shown;
	for (size_t i = map->nr_shown; i < nr; i++) {
		for (size_t round = 0; round < nr_rounds; round++) {
			map->others[round].held += ranked[i]->rounds[round].held;
			map->others[round].parent += ranked[i]->rounds[round].parent;
		}
	}
	return 0;
}

static int rank(struct map *map, size_t nr_rounds)
{
	struct map_area **ranked = calloc(map->nr + 1, sizeof(*ranked));
	size_t nr = 0;
	int err;

	map->others = calloc(nr_rounds, sizeof(*map->others));
	if (!ranked || !map->others) {
		free(ranked);
		return -ENOMEM;
	}
	for (size_t i = 0; i < map->nr; i++) {
		if (find_rewritten(&map->v[i], nr_rounds))
			ranked[nr++] = &map->v[i];
	}
	qsort(ranked, nr, sizeof(*ranked), by_heat);
	err = choose_shown(map, ranked, nr, nr_rounds);
	free(ranked);
	return err;
}

static int add_all(struct map *map, const struct history *history)
{
	int err;

	for (size_t i = 0; i < map->nr; i++) {
		map->v[i].rounds = calloc(history->nr, sizeof(*map->v[i].rounds));
		if (!map->v[i].rounds)
			return -ENOMEM;
	}
	err = add_rounds(map, history, false);
	if (!err)
		err = rank(map, history->nr);
	return err ? err : add_rounds(map, history, true);
}

int map_read(struct map *map, const struct history *history, struct reason *why)
{
	int err;

	*map = (struct map){ 0 };
	*why = (struct reason){ "" };
	err = places_find(map, history, why);
	if (!err)
		err = add_all(map, history);
	if (!err)
		return 0;
	map_fini(map);
	if (!why->text[0])
		reason_set(why, err, "cannot read where the pages belong: %s", strerror(-err));
	return err;
}

void map_fini(struct map *map)
{
	for (size_t i = 0; i < map->nr; i++) {
		free(map->v[i].rounds);
		free(map->v[i].bins);
	}
	for (size_t i = 0; i < map->nr_files; i++)
		free(map->files[i].path);
	free(map->v);
	free(map->others);
	free(map->files);
	*map = (struct map){ 0 };
}
