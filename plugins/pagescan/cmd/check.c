// SPDX-License-Identifier: GPL-2.0-only
/*
 * check.c - pagescan check: what kernel and criu offer, each with yes or no and the reason. Calls probe, find_criu,
 * keeper.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <pagescan.h>

#include "cmd.h"
#include "track/keeper.h"

struct item {
	const char *name;
	bool needed;
	bool yes;
	char why[256];
};

static void fill(struct item *item, const char *name, bool needed, bool yes, const char *why)
{
	item->name = name;
	item->needed = needed;
	item->yes = yes;
	snprintf(item->why, sizeof(item->why), "%s", why);
}

static const char *kernel_error(int err, const char *missing)
{
	switch (-err) {
	case 0:
		return "works";
	case ENOTTY:
	case EINVAL:
	case ENOSYS:
	case EOPNOTSUPP:
		return missing;
	default:
		return strerror(-err);
	}
}

/* Neither is a lack: the plugin asks such areas as the kernel at hand answers. */
static const char *holes(const struct pagescan_kernel *kernel)
{
	if (!kernel->scan || !kernel->wp_async)
		return "cannot be tried";
	if (kernel->holes_written)
		return "tracked memory that has no page table reads as written, as other empty memory does";
	return "tracked memory that has no page table does not read as written; the plugin knows";
}

static void check_criu(struct item *item)
{
	char version[64], why[200];
	char *criu = find_criu();
	int major = 0;

	if (!criu) {
		fill(item, "criu", true, false, "not found in PATH; install CRIU 4.0 or later, or set PAGESCAN_CRIU");
		return;
	}
	if (ignores_preload(criu)) {
		snprintf(why, sizeof(why),
			 "%s has capabilities or a set-id bit: LD_PRELOAD is ignored (`setcap -r` mends it)", criu);
	} else if (!criu_version(criu, version, sizeof(version)) || sscanf(version, "Version: %d", &major) != 1) {
		snprintf(why, sizeof(why), "%s cannot be run", criu);
	} else {
		snprintf(why, sizeof(why), "%s, %s%s", criu, version + strlen("Version: "),
			 major < 4 ? "; 4.0 or later is needed" : "");
	}
	fill(item, "criu", true, major >= 4, why);
	free(criu);
}

/* A runtime runs what it finds in its PATH, which need not be that of the shell. */
static void check_runtime(struct item *item, const char *name, const char *path)
{
	static const char *const ways[] = {
		[CRIU_PLAIN] = "plain; without soft-dirty criu-pagescan-divert or a launcher before it is needed",
		[CRIU_LAUNCHER] = "a launcher",
		[CRIU_DIVERTED] = "a launcher in the place of the real one, which is criu.distrib",
	};
	enum criu_way way;
	char *criu = criu_of_others(path, &way), why[256];

	if (criu)
		snprintf(why, sizeof(why), "%s, %s", criu, ways[way]);
	else
		snprintf(why, sizeof(why), "there is no criu in %s", path);
	fill(item, name, false, criu && way != CRIU_PLAIN, why);
	free(criu);
}

static void check_keeper(struct item *item)
{
	struct reason why;
	int dir = keeper_dir_open(&why);

	fill(item, "keeper", true, dir >= 0, dir >= 0 ? "its directory is ours and closed to others" : why.text);
	if (dir >= 0)
		close(dir);
}

static int print(const struct item *items, size_t nr, const char *kernel_name, bool json)
{
	json_t *list = json ? json_object() : NULL;
	bool all = true;
	int status;

	for (size_t i = 0; i < nr; i++) {
		all = all && (items[i].yes || !items[i].needed);
		if (json)
			json_put(list, items[i].name,
				 json_pack("{s:b, s:b, s:s}", "available", items[i].yes, "needed", items[i].needed,
					   "reason", items[i].why));
		else
			printf("%-13s %-3s  %s%s\n", items[i].name, items[i].yes ? "yes" : "no", items[i].why,
			       items[i].needed ? "" : " (not needed)");
	}
	if (json) {
		status = print_json(json_pack("{s:s, s:b, s:o}", "kernel", kernel_name, "usable", all, "checks", list));
		if (status)
			return status;
	} else {
		printf("%s on kernel %s\n", all ? "pagescan works" : "pagescan cannot work", kernel_name);
	}
	return all ? EXIT_SUCCESS : EXIT_FAILED;
}

int cmd_check(int argc, char **argv)
{
	const char *path = getenv("PATH");
	struct pagescan_kernel kernel;
	struct utsname name;
	struct item items[9];
	bool json = false;
	int status = parse_options(argc, argv, "check [--json]\nTells what kernel and criu offer.", &json, 0, 0);

	if (status >= 0)
		return status;
	uname(&name);
	pagescan_probe(&kernel);

	fill(&items[0], "pagemap_scan", true, kernel.scan,
	     kernel_error(kernel.scan_error, "the kernel has no PAGEMAP_SCAN ioctl: 6.7 or later is needed"));
	fill(&items[1], "wp_async", true, kernel.wp_async,
	     kernel_error(kernel.wp_async_error,
			  "no asynchronous userfaultfd write-protection: x86-64 6.7, arm64 6.10 or later is needed"));
	fill(&items[2], "guard", false, kernel.guard, kernel.guard ? "works" : "the kernel does not tell guard pages");
	fill(&items[3], "holes_written", false, kernel.holes_written, holes(&kernel));
	fill(&items[4], "soft_dirty", false, kernel.soft_dirty,
	     kernel_error(kernel.soft_dirty_error, "the kernel has no soft-dirty tracking"));
	check_criu(&items[5]);
	check_keeper(&items[6]);
	check_runtime(&items[7], "runtime", path ? path : "");
	check_runtime(&items[8], "runtime_bare", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	return print(items, sizeof(items) / sizeof(*items), name.release, json);
}
