// SPDX-License-Identifier: GPL-2.0-only
/*
 * page.c - write the page. Calls libc.
 *
 * What people see is told twice, by colour or length and by a number; what is drawn is hidden from those who listen.
 */
#include <inttypes.h>
#include <string.h>

#include <pagescan.h>

#include "page.h"

/* style.css */
extern const char report_style[];

/* From none of a part written to all of it; the stylesheet has a colour for each. */
enum { LEVEL_NOTHING, LEVEL_CLEAN, LEVEL_WRITTEN };
static const double levels[] = { 0.01, 0.05, 0.2, 0.5 };

#define NR_LEVELS (LEVEL_WRITTEN + 1 + sizeof(levels) / sizeof(*levels))

static const char *const level_names[NR_LEVELS] = {
	"no memory", "none written", "up to 1 %", "up to 5 %", "up to 20 %", "up to half", "more",
};

/* File and command names are anybody's bytes. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '<')
			fputs("&lt;", out);
		else if (c == '&')
			fputs("&amp;", out);
		else if (c == '"')
			fputs("&quot;", out);
		else
			putc(c < ' ' || c == 127 ? '?' : c, out);
	}
}

static void put_size(FILE *out, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	for (; value >= 1024 && unit + 1 < sizeof(units) / sizeof(*units); unit++)
		value /= 1024;
	if (bytes)
		fprintf(out, value < 10 && unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	else
		putc('0', out);
}

/* For people, and exactly for their programs. */
static void put_bytes(FILE *out, uint64_t bytes)
{
	fprintf(out, "<data value=\"%" PRIu64 "\">", bytes);
	put_size(out, bytes);
	fputs("</data>", out);
}

static void put_ms(FILE *out, uint64_t us)
{
	fprintf(out, us && us < 10000 ? "%.2f ms" : "%.0f ms", (double)us / 1e3);
}

/* A number, with a bar of its share of the most in its column. */
static void open_bar(FILE *out, uint64_t value, uint64_t most)
{
	fprintf(out, "<td class=\"bar\" style=\"--share:%.4f\">", most ? (double)value / (double)most : 0);
}

static const struct history_round *last_of(const struct history *history)
{
	return &history->v[history->nr - 1];
}

static void put_head(FILE *out, const char *title)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>Rounds in ",
	      out);
	put_text(out, title);
	fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n<h1>Rounds in ", report_style);
	put_text(out, title);
	fputs("</h1>\n", out);
}

static void put_verdict(FILE *out, const struct history *history)
{
	const struct history_round *last = last_of(history);
	unsigned int live = 0;

	for (size_t i = 0; i < history->nr; i++)
		live += history->v[i].kind == ROUND_LIVE;
	fprintf(out, "<p>%zu round%s, %u of them while the processes ran. ", history->nr, history->nr == 1 ? "" : "s",
		live);
	if (last->kind == ROUND_DUMP && last->has_stats) {
		fputs("The dump, the last one, stopped them for <strong>", out);
		put_ms(out, last->paused);
		fputs("</strong> until its images were complete.", out);
	} else if (last->kind != ROUND_DUMP) {
		fputs("There is no dump: these rounds are not to be restored.", out);
	}
	fputs("</p>\n", out);
	if (history->incomplete)
		fputs("<p class=\"warning\">The directory is marked incomplete: <code>pagescan dump</code> was not "
		      "done "
		      "with it, or has given up.</p>\n",
		      out);
}

static void put_tile(FILE *out, const char *name, uint64_t value, void (*put)(FILE *, uint64_t))
{
	fprintf(out, "<div><dt>%s</dt><dd>", name);
	put(out, value);
	fputs("</dd></div>\n", out);
}

static void put_tiles(FILE *out, const struct history *history)
{
	const struct history_round *last = last_of(history);
	uint64_t held = 0, paused = 0;

	for (size_t i = 0; i < history->nr; i++) {
		held += history->v[i].held;
		if (i + 1 < history->nr && history->v[i].paused > paused)
			paused = history->v[i].paused;
	}
	fputs("<dl>\n", out);
	put_tile(out, "in the images of all rounds", held, put_bytes);
	put_tile(out, "of these in the last round", last->held, put_bytes);
	if (history->nr > 1)
		put_tile(out, "longest stop before the last round", paused, put_ms);
	if (last->has_stats)
		put_tile(out, "stop in the last round", last->paused, put_ms);
	fputs("</dl>\n</header>\n", out);
}

static void put_round(FILE *out, const struct history_round *round, uint64_t most_held, uint64_t most_paused)
{
	static const char *const kinds[] = {
		[ROUND_UNKNOWN] = "not known",
		[ROUND_LIVE] = "they ran",
		[ROUND_STOPPED] = "stopped",
		[ROUND_DUMP] = "stopped, dump",
	};

	fputs("<tr><th scope=\"row\">", out);
	put_text(out, round->name);
	fprintf(out, "</th><td>%s</td>", kinds[round->kind]);
	if (round->elsewhere)
		fputs("<td>at a page server</td>", out);
	else
		fprintf(out, "<td class=\"number\">%u</td>", round->images);
	open_bar(out, round->held, most_held);
	put_bytes(out, round->held);
	fputs("</td><td class=\"number\">", out);
	put_bytes(out, round->parent);
	fputs("</td>", out);
	open_bar(out, round->paused, most_paused);
	if (round->has_stats)
		put_ms(out, round->paused);
	else
		fputs("not known", out);
	fputs("</td></tr>\n", out);
}

static void put_rounds(FILE *out, const struct history *history)
{
	uint64_t held = 0, paused = 0;

	for (size_t i = 0; i < history->nr; i++) {
		held = history->v[i].held > held ? history->v[i].held : held;
		paused = history->v[i].paused > paused ? history->v[i].paused : paused;
	}
	fputs("<section>\n<h2 id=\"rounds\">What each round took</h2>\n"
	      "<p>Where the processes ran, the stop is the sum of single threads', each stopped once in its life.</p>\n"
	      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"rounds\">\n"
	      "<table class=\"rounds\">\n<thead><tr><th scope=\"col\">round</th><th scope=\"col\">the processes</th>"
	      "<th scope=\"col\" class=\"number\">memory images</th><th scope=\"col\">in its images</th>"
	      "<th scope=\"col\" class=\"number\">left to the parent</th><th scope=\"col\">stopped "
	      "for</th></tr></thead>\n<tbody>\n",
	      out);
	for (size_t i = 0; i < history->nr; i++)
		put_round(out, &history->v[i], held, paused);
	fputs("</tbody>\n</table>\n</div>\n</section>\n", out);
}

static unsigned int level_of(const struct map_bytes *bytes)
{
	const double share = (double)bytes->held / (double)(bytes->held + bytes->parent);
	unsigned int level = LEVEL_WRITTEN;

	if (!bytes->held)
		return bytes->parent ? LEVEL_CLEAN : LEVEL_NOTHING;
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		level += share > levels[i];
	return level;
}

static uint64_t bins_of(const struct map_area *area)
{
	const uint64_t pages = (area->end - area->start) / pagescan_page_size();

	return pages < MAP_BINS ? pages : MAP_BINS;
}

/* Neighbours of one level are one rectangle. */
static void put_strip(FILE *out, const struct map_bytes *bins, uint64_t nr)
{
	uint64_t begin = 0;

	fprintf(out, "<svg viewBox=\"0 0 %" PRIu64 " 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">", nr);
	for (uint64_t i = 1; i <= nr; i++) {
		const unsigned int level = level_of(&bins[begin]);

		if (i < nr && level_of(&bins[i]) == level)
			continue;
		if (level != LEVEL_NOTHING)
			fprintf(out, "<rect class=\"h%u\" x=\"%" PRIu64 "\" width=\"%" PRIu64 "\" height=\"1\"/>",
				level, begin, i - begin);
		begin = i;
	}
	fputs("</svg>", out);
}

/* @bins: NULL where only the sum is known. */
static void put_cell(FILE *out, const struct map_bytes *bytes, const struct map_bytes *bins, uint64_t nr)
{
	if (!bytes->held && !bytes->parent) {
		fputs("<td class=\"none\">no memory</td>", out);
		return;
	}
	fputs("<td title=\"", out);
	put_size(out, bytes->held);
	fputs(" of ", out);
	put_size(out, bytes->held + bytes->parent);
	fputs("\">", out);
	put_strip(out, bins ? bins : bytes, bins ? nr : 1);
	put_bytes(out, bytes->held);
	fputs("</td>", out);
}

static void put_area(FILE *out, const struct map_area *area, size_t nr_rounds)
{
	fputs("<tr><th scope=\"row\">", out);
	if (area->shared) {
		fprintf(out, "shared memory %" PRIu64, area->id);
	} else {
		fprintf(out, "%" PRIu64 " ", area->id);
		put_text(out, area->command);
	}
	if (*area->name) {
		fputs(", <span title=\"", out);
		put_text(out, area->name);
		fputs("\">", out);
		put_text(out, strrchr(area->name, '/') ? strrchr(area->name, '/') + 1 : area->name);
		fputs("</span>", out);
	}
	fprintf(out, " <small>%" PRIx64 "-%" PRIx64 ", ", area->start, area->end);
	put_size(out, area->end - area->start);
	fputs("</small></th>", out);
	for (size_t i = 0; i < nr_rounds; i++)
		put_cell(out, &area->rounds[i], &area->bins[i * MAP_BINS], bins_of(area));
	fputs("</tr>\n", out);
}

static void put_legend(FILE *out)
{
	fputs("<ul class=\"legend\">\n", out);
	for (size_t i = 0; i < NR_LEVELS; i++)
		fprintf(out, "<li><i class=\"h%zu\"></i>%s</li>\n", i, level_names[i]);
	fputs("</ul>\n", out);
}

static void put_map(FILE *out, const struct history *history, const struct map *map)
{
	fputs("<section>\n<h2 id=\"map\">What was written when</h2>\n"
	      "<p>A row is an area of memory, a column a round. A cell shows the area from its first address to its "
	      "last, "
	      "coloured by the share of each part that the round's images hold, as it was new or written since the "
	      "round "
	      "before. The number is their sum. Areas that were written most come first.</p>\n",
	      out);
	put_legend(out);
	fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"map\">\n<table class=\"map\">\n"
	      "<thead><tr><th scope=\"col\">area</th>",
	      out);
	for (size_t i = 0; i < history->nr; i++) {
		fputs("<th scope=\"col\">round ", out);
		put_text(out, history->v[i].name);
		fputs("</th>", out);
	}
	fputs("</tr></thead>\n<tbody>\n", out);
	for (size_t i = 0; i < map->nr_shown; i++)
		put_area(out, map->shown[i], history->nr);
	if (map->nr_others) {
		fprintf(out, "<tr><th scope=\"row\">%zu other areas</th>", map->nr_others);
		for (size_t i = 0; i < history->nr; i++)
			put_cell(out, &map->others[i], NULL, 0);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n</table>\n</div>\n</section>\n", out);
}

void page_write(FILE *out, const char *title, const struct history *history, const struct map *map)
{
	bool elsewhere = false;

	for (size_t i = 0; i < history->nr; i++)
		elsewhere = elsewhere || history->v[i].elsewhere;
	put_head(out, title);
	put_verdict(out, history);
	put_tiles(out, history);
	fputs("<main>\n", out);
	put_rounds(out, history);
	if (elsewhere)
		fputs("<p>The pages of some rounds went to a page server, and so did what tells where they belong. "
		      "With its "
		      "files beside these, as a restore needs them, there is a map of them, too.</p>\n",
		      out);
	if (map->nr_shown)
		put_map(out, history, map);
	fputs("</main>\n<footer>pagescan " PAGESCAN_VERSION "</footer>\n</body>\n</html>\n", out);
}
