// SPDX-License-Identifier: GPL-2.0-only
/*
 * places.c - find areas from where pages are, cut them where the last dump says that areas begin and end. Calls image.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "image/visit.h"
#include "places.h"

/* Pages with no more than that between them are taken for one area, where nobody tells. */
#define GAP (1UL << 20)

/* [start, end) of a task, or of shared memory. */
struct span {
	uint64_t id;
	bool shared;
	uint64_t start;
	uint64_t end;
};

struct spans {
	struct span *v;
	size_t nr;
	size_t room;
	struct span now; /* of the image that is read */
};

/* The areas of one task as the dump tells them. */
struct told {
	struct visit_area *v;
	size_t nr;
	size_t room;
};

/* Room for one more element of @size bytes. Returns whether there is. */
static bool make_room(void **v, size_t nr, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 64;
	void *bigger;

	if (nr < *room)
		return true;
	bigger = reallocarray(*v, more, size);
	if (!bigger)
		return false;
	*v = bigger;
	*room = more;
	return true;
}

static int push_span(struct spans *spans)
{
	if (spans->now.start == spans->now.end)
		return 0;
	if (!make_room((void **)&spans->v, spans->nr, &spans->room, sizeof(*spans->v)))
		return -ENOMEM;
	spans->v[spans->nr++] = spans->now;
	return 0;
}

static int add_run(void *ctx, const struct visit_run *run)
{
	struct spans *spans = ctx;
	int err = 0;

	if (spans->now.start == spans->now.end || run->start - spans->now.end > GAP) {
		err = push_span(spans);
		spans->now.start = run->start;
	}
	spans->now.end = run->end;
	return err;
}

struct collect {
	struct spans *spans;
	int dir;
};

static int add_image(void *ctx, const char *name, uint64_t id, bool shared)
{
	const struct collect *collect = ctx;
	int err;

	collect->spans->now = (struct span){ .id = id, .shared = shared };
	err = image_visit_runs(collect->dir, name, add_run, collect->spans);
	return err ? err : push_span(collect->spans);
}

static int compare(bool shared, uint64_t id, bool other_shared, uint64_t other)
{
	if (shared != other_shared)
		return shared ? 1 : -1;
	return (id > other) - (id < other);
}

static int by_address(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	int order = compare(x->shared, x->id, y->shared, y->id);

	return order ? order : (x->start > y->start) - (x->start < y->start);
}

/* What several rounds have, or lies near each other, becomes one. */
static void merge(struct spans *spans)
{
	size_t nr = 0;

	if (spans->nr)
		qsort(spans->v, spans->nr, sizeof(*spans->v), by_address);
	for (size_t i = 0; i < spans->nr; i++) {
		struct span *last = nr ? &spans->v[nr - 1] : NULL;
		const struct span *next = &spans->v[i];

		if (last && last->shared == next->shared && last->id == next->id &&
		    (next->start <= last->end || next->start - last->end <= GAP)) {
			if (next->end > last->end)
				last->end = next->end;
		} else {
			spans->v[nr++] = *next;
		}
	}
	spans->nr = nr;
}

static int add_told(void *ctx, const struct visit_area *area)
{
	struct told *told = ctx;

	if (!make_room((void **)&told->v, told->nr, &told->room, sizeof(*told->v)))
		return -ENOMEM;
	told->v[told->nr++] = *area;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct visit_area *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int add_file(void *ctx, uint32_t id, const char *path)
{
	struct map *map = ctx;
	struct map_file *files = reallocarray(map->files, map->nr_files + 1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	map->files = files;
	files[map->nr_files].id = id;
	files[map->nr_files].path = strdup(path);
	return files[map->nr_files++].path ? 0 : -ENOMEM;
}

static const char *name_of(const struct map *map, const struct visit_area *area)
{
	for (size_t i = 0; area->file && i < map->nr_files; i++) {
		if (map->files[i].id == area->file)
			return map->files[i].path;
	}
	return area->heap ? "heap" : area->stack ? "stack" : area->file ? "a file" : "anonymous";
}

/* An area without its name. */
static int add_area(struct map *map, size_t *room, const struct span *span, uint64_t start, uint64_t end,
		    const char *name)
{
	if (!make_room((void **)&map->v, map->nr, room, sizeof(*map->v)))
		return -ENOMEM;
	map->v[map->nr++] =
		(struct map_area){ .id = span->id, .shared = span->shared, .start = start, .end = end, .name = name };
	return 0;
}

/* A span becomes the areas that lie in it, and what is between them: areas of earlier rounds. */
static int cut(struct map *map, size_t *room, const struct span *span, const struct told *told)
{
	uint64_t at = span->start;
	int err = 0;

	for (size_t i = 0; !err && i < told->nr && told->v[i].start < span->end; i++) {
		const struct visit_area *area = &told->v[i];
		const uint64_t start = area->start > at ? area->start : at;
		const uint64_t end = area->end < span->end ? area->end : span->end;

		if (start >= end)
			continue;
		if (start > at)
			err = add_area(map, room, span, at, start, "not there any more");
		if (!err)
			err = add_area(map, room, span, start, end, name_of(map, area));
		at = end;
	}
	if (!err && at < span->end)
		err = add_area(map, room, span, at, span->end, told->nr ? "not there any more" : "");
	return err;
}

/* What the dump in @dir tells of a task: nothing where it is none, or of a task that has ended. */
static int read_told(struct told *told, char command[16], int dir, const struct span *span, struct reason *why)
{
	int err;

	told->nr = 0;
	command[0] = '\0';
	if (span->shared || span->id > INT_MAX)
		return 0;
	err = image_visit_areas(dir, (int)span->id, add_told, told);
	if (!err)
		err = image_visit_command(dir, (int)span->id, command);
	if (err && err != -ENOENT)
		return reason_set(why, err, "what the dump tells of task %d: %s", (int)span->id,
				  err == -EBADMSG ? "not a valid image" : strerror(-err));
	if (told->nr)
		qsort(told->v, told->nr, sizeof(*told->v), by_start);
	return 0;
}

static int make_areas(struct map *map, const struct spans *spans, int dir, struct reason *why)
{
	struct told told = { 0 };
	char command[16] = "";
	size_t room = 0;
	int err = image_visit_files(dir, add_file, map);

	if (err == -ENOENT)
		err = 0;
	else if (err)
		reason_set(why, err, "files.img of the last round: %s",
			   err == -EBADMSG ? "not a valid image" : strerror(-err));
	for (size_t i = 0; !err && i < spans->nr; i++) {
		const struct span *span = &spans->v[i];
		size_t first = map->nr;

		if (!i || compare(span->shared, span->id, span[-1].shared, span[-1].id))
			err = read_told(&told, command, dir, span, why);
		if (!err)
			err = cut(map, &room, span, &told);
		for (; first < map->nr; first++)
			memcpy(map->v[first].command, command, sizeof(command));
	}
	free(told.v);
	return err;
}

int places_find(struct map *map, const struct history *history, struct reason *why)
{
	struct spans spans = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < history->nr; i++) {
		struct collect collect = { &spans, history->v[i].dir };

		err = history_each_image(collect.dir, add_image, &collect);
	}
	if (!err) {
		merge(&spans);
		err = make_areas(map, &spans, history->v[history->nr - 1].dir, why);
	}
	free(spans.v);
	return err;
}

void places_of(const struct map *map, uint64_t id, bool shared, struct map_area **begin, struct map_area **end)
{
	size_t low = 0, high = map->nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(map->v[mid].shared, map->v[mid].id, shared, id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*begin = *end = &map->v[low];
	while (*end < &map->v[map->nr] && !compare((*end)->shared, (*end)->id, shared, id))
		++*end;
}
