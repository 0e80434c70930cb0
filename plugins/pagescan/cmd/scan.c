// SPDX-License-Identifier: GPL-2.0-only
/*
 * scan.c - pagescan scan PID: the state of a process's pages, per area and summed. Calls scan.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "scan/areas.h"

#define USAGE                                                                                              \
	"scan [--required C,...] [--anyof C,...] [--excluded C,...] [--regions] [--json] PID\n"            \
	"Shows bytes by category, per area and summed. A category C is one of wpallowed, written, file,\n" \
	"present, swapped, pfnzero, huge, soft_dirty, guard. Without masks: --anyof present,swapped."

static const char *const names[] = { "wpallowed", "written", "file",	   "present", "swapped",
				     "pfnzero",	  "huge",    "soft_dirty", "guard" };

#define NR_NAMES (sizeof(names) / sizeof(*names))

struct request {
	struct pagescan_query query;
	bool regions;
	bool json;
	int pid;
};

struct totals {
	uint64_t matched;
	uint64_t by_category[NR_NAMES];
};

static bool parse_categories(const char *text, uint64_t *mask)
{
	char *copy = strdup(text), *rest = copy, *name;
	bool ok = copy;

	if (!copy)
		complain("out of memory");
	*mask = 0;
	while (ok && (name = strsep(&rest, ","))) {
		size_t i = 0;

		while (i < NR_NAMES && strcmp(names[i], name))
			i++;
		ok = i < NR_NAMES;
		if (ok)
			*mask |= 1ULL << i;
		else
			complain("'%s' is not a category", name);
	}
	free(copy);
	return ok;
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct request *request)
{
	const struct option options[] = {
		{ "required", required_argument, NULL, 'r' },
		{ "anyof", required_argument, NULL, 'a' },
		{ "excluded", required_argument, NULL, 'x' },
		{ "regions", no_argument, NULL, 'R' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct pagescan_query *query = &request->query;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		bool ok = true;

		switch (option) {
		case 'r':
			ok = parse_categories(optarg, &query->required);
			break;
		case 'a':
			ok = parse_categories(optarg, &query->anyof);
			break;
		case 'x':
			ok = parse_categories(optarg, &query->excluded);
			break;
		case 'R':
			request->regions = true;
			break;
		case 'j':
			request->json = true;
			break;
		case 'h':
			puts("Usage: pagescan " USAGE);
			return EXIT_SUCCESS;
		default:
			ok = false;
		}
		if (!ok)
			return EXIT_USAGE;
	}
	if (argc - optind != 1) {
		fputs("Usage: pagescan " USAGE "\n", stderr);
		return EXIT_USAGE;
	}
	request->pid = parse_pid(argv[optind]);
	if (!query->required && !query->anyof && !query->excluded)
		query->anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED;
	query->returned = PAGESCAN_ALL;
	return request->pid ? -1 : EXIT_USAGE;
}

/* By the ioctl; where the kernel has none, by pagemap reads, without the categories that those cannot tell. */
static int walk(int pagemap, const struct area *area, const struct pagescan_kernel *kernel,
		const struct request *request, struct pagescan_regions *regions)
{
	struct pagescan_query query = request->query;

	if (!kernel->guard)
		query.returned &= ~PAGESCAN_GUARD;
	if (kernel->scan)
		return pagescan_walk(pagemap, area->start, area->end, &query, regions);
	query.returned &= ~(PAGESCAN_HUGE | PAGESCAN_WPALLOWED);
	return pagescan_walk_pagemap(pagemap, area->start, area->end, &query, regions);
}

static void count(struct totals *totals, const struct pagescan_region *region)
{
	totals->matched += region->end - region->start;
	for (size_t i = 0; i < NR_NAMES; i++) {
		if (region->categories & (1ULL << i))
			totals->by_category[i] += region->end - region->start;
	}
}

static json_t *totals_json(const struct totals *totals)
{
	json_t *object = json_object();

	json_put(object, "matched", json_integer((json_int_t)totals->matched));
	for (size_t i = 0; i < NR_NAMES; i++)
		json_put(object, names[i], json_integer((json_int_t)totals->by_category[i]));
	return object;
}

static void print_totals(const char *what, const struct totals *totals)
{
	printf("%-29s %12" PRIu64 "  ", what, totals->matched);
	for (size_t i = 0; i < NR_NAMES; i++) {
		if (totals->by_category[i])
			printf(" %s=%" PRIu64, names[i], totals->by_category[i]);
	}
	putchar('\n');
}

static void print_region(const struct pagescan_region *region)
{
	printf("  %" PRIx64 "-%" PRIx64, region->start, region->end);
	for (size_t i = 0; i < NR_NAMES; i++) {
		if (region->categories & (1ULL << i))
			printf(" %s", names[i]);
	}
	putchar('\n');
}

static json_t *regions_json(const struct pagescan_regions *regions)
{
	json_t *list = json_array();

	for (size_t i = 0; i < regions->nr; i++) {
		json_t *words = json_array();

		for (size_t c = 0; c < NR_NAMES; c++) {
			if (regions->v[i].categories & (1ULL << c))
				json_append(words, json_string(names[c]));
		}
		json_append(list, json_pack("{s:I, s:I, s:o}", "start", (json_int_t)regions->v[i].start, "end",
					    (json_int_t)regions->v[i].end, "categories", words));
	}
	return list;
}

static void show_area(const struct area *area, const struct pagescan_regions *regions, const struct totals *totals,
		      const struct request *request, json_t *list)
{
	char name[40];

	if (request->json) {
		json_t *object = json_pack("{s:I, s:I, s:o}", "start", (json_int_t)area->start, "end",
					   (json_int_t)area->end, "bytes", totals_json(totals));

		if (request->regions)
			json_put(object, "regions", regions_json(regions));
		json_append(list, object);
		return;
	}
	snprintf(name, sizeof(name), "%" PRIx64 "-%" PRIx64, area->start, area->end);
	print_totals(name, totals);
	for (size_t i = 0; request->regions && i < regions->nr; i++)
		print_region(&regions->v[i]);
}

static int scan(const struct request *request, const struct areas *areas, int pagemap)
{
	json_t *list = request->json ? json_array() : NULL;
	struct pagescan_kernel kernel;
	struct totals sum = { 0 };
	int err;

	pagescan_probe(&kernel);
	/* A kernel that has the ioctl and cannot be asked at present is not one without. */
	err = kernel.scan_error == -ENOTTY ? 0 : kernel.scan_error;
	for (size_t i = 0; !err && i < areas->nr; i++) {
		struct pagescan_regions regions = { 0 };
		struct totals totals = { 0 };

		err = walk(pagemap, &areas->v[i], &kernel, request, &regions);
		for (size_t r = 0; !err && r < regions.nr; r++) {
			count(&totals, &regions.v[r]);
			count(&sum, &regions.v[r]);
		}
		if (!err && totals.matched)
			show_area(&areas->v[i], &regions, &totals, request, list);
		pagescan_regions_fini(&regions);
	}
	if (err) {
		json_decref(list);
		complain("cannot scan the memory of %d: %s", request->pid,
			 err == -EOPNOTSUPP ? "without PAGEMAP_SCAN (kernel 6.7) huge and wpallowed cannot be asked" :
					      strerror(-err));
		return EXIT_FAILED;
	}
	if (request->json)
		return print_json(
			json_pack("{s:i, s:o, s:o}", "pid", request->pid, "areas", list, "bytes", totals_json(&sum)));
	print_totals("sum", &sum);
	return EXIT_SUCCESS;
}

int cmd_scan(int argc, char **argv)
{
	struct request request = { 0 };
	struct areas areas = { 0 };
	int status = parse(argc, argv, &request);
	int dir, pagemap, err;

	if (status >= 0)
		return status;

	dir = open_process(request.pid);
	if (dir < 0)
		return EXIT_FAILED;
	pagemap = openat(dir, "pagemap", O_RDONLY | O_CLOEXEC);
	err = pagemap < 0 ? -errno : areas_read(dir, &areas);
	if (err) {
		complain("cannot read the memory of %d: %s", request.pid,
			 err == -ESRCH ? "it has none (a zombie or a kernel thread)" : strerror(-err));
		status = EXIT_FAILED;
	} else {
		status = scan(&request, &areas, pagemap);
		areas_fini(&areas);
	}
	if (pagemap >= 0)
		close(pagemap);
	close(dir);
	return status;
}
