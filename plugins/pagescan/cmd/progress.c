// SPDX-License-Identifier: GPL-2.0-only
/*
 * progress.c - tell people and programs how a dump or a migration comes along. Calls live, clock, jansson.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "live.h"
#include "progress.h"
#include "track/clock.h"

/* A terminal's line is drawn no more often. */
#define REDRAW_S 0.1

static struct {
	bool json;
	bool terminal;
	double limit;
	unsigned int round;
	double since;
	double drawn;
	double pause;
	double dirty_rate;
} now_telling;

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void print_event(json_t *event)
{
	if (event && !json_dumpf(event, stdout, JSON_COMPACT))
		putchar('\n');
	fflush(stdout);
	json_decref(event);
}

/* Take the moving line away. */
static void clear_line(void)
{
	if (now_telling.terminal)
		fputs("\r\033[K", stdout);
}

void progress_begin(bool json, double limit)
{
	now_telling.json = json;
	now_telling.limit = limit;
	now_telling.terminal = !json && isatty(STDOUT_FILENO);
}

void progress_round(unsigned int round)
{
	now_telling.round = round;
	now_telling.since = clock_seconds();
	now_telling.drawn = 0;
}

void progress_copied(const struct copy_counts *counts)
{
	const double time = clock_seconds();
	const double done = mib(counts->copied * pagescan_page_size());
	const double todo = mib(counts->todo * pagescan_page_size());
	const double rate = done / (time - now_telling.since);

	if (!now_telling.terminal || time - now_telling.drawn < REDRAW_S)
		return;
	now_telling.drawn = time;
	clear_line();
	printf("round %u: %.0f of %.0f MiB, %.0f MiB/s", now_telling.round, done, todo, rate);
	if (rate > 0)
		printf(", %.0f s left", (todo - done) / rate);
	if (now_telling.round > 1)
		printf("; written %.1f MiB/s, pause %.0f ms", now_telling.dirty_rate, now_telling.pause * 1e3);
	fflush(stdout);
}

void progress_round_done(bool live, const struct live_result *result, const struct written *written, double pause,
			 double throughput)
{
	const double seconds = clock_seconds() - now_telling.since;
	const json_int_t page = (json_int_t)pagescan_page_size();
	const json_int_t copied = (json_int_t)result->pages.copied * page;
	const json_int_t parent = (json_int_t)result->pages.parent * page;
	const json_int_t spared = (json_int_t)result->pages.spared * page;

	now_telling.pause = pause;
	now_telling.dirty_rate = mib(written->written) / seconds;
	if (now_telling.json) {
		print_event(json_pack("{s:s, s:i, s:b, s:f, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:o}",
				      "event", "round", "round", (int)now_telling.round, "live", live, "seconds",
				      seconds, "copied_bytes", copied, "spared_bytes", spared, "parent_bytes", parent,
				      "stopped_seconds", (double)result->stopped / 1e9, "written_bytes",
				      (json_int_t)written->written, "untracked_bytes", (json_int_t)written->untracked,
				      "shared_bytes", (json_int_t)written->shared, "clean_bytes",
				      (json_int_t)written->clean, "bytes_per_second", throughput,
				      "estimated_pause_seconds", pause, "hot_areas", live_areas(written)));
		return;
	}
	clear_line();
	printf("round %u%s: %.1f MiB", now_telling.round, live ? "" : " (stopped)", mib((uint64_t)copied));
	if (spared)
		printf(", %.1f of them there already,", mib((uint64_t)spared));
	printf(" in %.2f s, %.1f MiB written meanwhile; a dump now would pause for about %.0f ms\n", seconds,
	       mib(written->written), pause * 1e3);
	if (pause > now_telling.limit && written->nr) {
		const struct written_area *hot = written->top;

		printf("  written most: %.1f MiB of %.1f in %" PRIx64 "-%" PRIx64 "%s%s of %d\n", mib(hot->bytes),
		       mib(hot->end - hot->start), hot->start, hot->end, *hot->name ? " " : "", hot->name, hot->pid);
	}
	fflush(stdout);
}

void progress_end(const char *verdict, const char *text, double frozen, uint64_t bytes)
{
	clear_line();
	if (now_telling.json)
		print_event(json_pack("{s:s, s:s, s:s, s:f, s:I}", "event", "end", "verdict", verdict, "reason", text,
				      "frozen_milliseconds", frozen, "written_bytes", (json_int_t)bytes));
	else if (frozen >= 0)
		printf("%s: %s; frozen for %.0f ms, in which %.1f MiB were written\n", verdict, text, frozen,
		       mib(bytes));
	else
		printf("%s: %s\n", verdict, text);
	fflush(stdout);
}

void progress_moved(const char *verdict, const char *text, const struct downtime *downtime, uint64_t bytes)
{
	const double all = downtime->dump + downtime->restore + downtime->resume;

	clear_line();
	if (now_telling.json) {
		print_event(json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:I}", "event", "end", "verdict", verdict,
				      "reason", text, "downtime_milliseconds", all, "dump_milliseconds", downtime->dump,
				      "restore_milliseconds", downtime->restore, "resume_milliseconds",
				      downtime->resume, "sent_bytes", (json_int_t)bytes));
	} else {
		printf("%s: %s; frozen for %.0f ms, %.1f MiB sent in all\n", verdict, text, all, mib(bytes));
		printf("downtime: %.0f ms to freeze, dump and send, %.0f ms to restore, %.0f ms until they ran\n",
		       downtime->dump, downtime->restore, downtime->resume);
	}
	fflush(stdout);
}
