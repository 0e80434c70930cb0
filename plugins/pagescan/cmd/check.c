// SPDX-License-Identifier: GPL-2.0-only
/*
 * check.c - pagescan check: what kernel, criu and runtimes offer, each with yes or no and the reason. Calls probe, find,
 * breakpoints, restore, keeper, check_runtimes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"
#include "cmd.h"
#include "restore.h"
#include "track/keeper.h"

void item_set(struct item *item, const char *name, bool needed, bool yes, const char *format, ...)
{
	va_list args;

	item->name = name;
	item->needed = needed;
	item->yes = yes;
	va_start(args, format);
	vsnprintf(item->why, sizeof(item->why), format, args);
	va_end(args);
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

/*
 * CRIU before 4.2 asks each socket for SO_PASSCRED (dump_socket_opts in criu/sockets.c) and fails where it has none; since
 * Linux 6.16 only Unix, netlink and Bluetooth sockets have it (sk_getsockopt in net/core/sock.c). Whoever moves a server
 * would learn that in its dump, after all the rounds.
 */
static bool dumps_no_tcp(int major, int minor, const char *kernel)
{
	int kernel_major, kernel_minor;

	return sscanf(kernel, "%d.%d", &kernel_major, &kernel_minor) == 2 &&
	       (kernel_major > 6 || (kernel_major == 6 && kernel_minor >= 16)) && major == 4 && minor < 2;
}

static void check_criu(struct item *item, const char *kernel)
{
	char *criu = find_criu(), version[64];
	int major = 0, minor = 0;
	const char *but = "";

	if (!criu)
		item_set(item, "criu", true, false,
			 "not found in PATH: `apt install criu` (4.0 or later, Debian 13), or set PAGESCAN_CRIU");
	else if (ignores_preload(criu))
		item_set(item, "criu", true, false,
			 "%s has capabilities or a set-id bit: LD_PRELOAD is ignored (`setcap -r` mends it)", criu);
	else if (!criu_version(criu, version, sizeof(version)) || sscanf(version, "Version: %d.%d", &major, &minor) < 1)
		item_set(item, "criu", true, false, "%s cannot be run", criu);
	else {
		if (major < 4)
			but = "; 4.0 or later is needed, as Debian 13's (or set PAGESCAN_CRIU)";
		else if (dumps_no_tcp(major, minor, kernel))
			but = "; processes with TCP or UDP sockets need 4.2 or later on this kernel";
		item_set(item, "criu", true, major >= 4, "%s, %s%s", criu, version + strlen("Version: "), but);
	}
	free(criu);
}

/* What a destination of a migration does first, until it would be told of images. */
static void check_warm(struct item *item, bool criu)
{
	struct restore restore = { .path = "/nonexistent", .pid = -1, .sock = -1, .far = -1, .root = -1 };
	char why[256] = "criu has ended instead of waiting for images";
	uint64_t bytes;
	bool yes = false;

	if (!criu)
		snprintf(why, sizeof(why), "see criu");
	else if (restore_start(&restore, true))
		snprintf(why, sizeof(why), "criu cannot be started");
	else
		yes = restore_ask(&restore) && restore_hear(&restore, &bytes, why) > 0;
	restore_stop(&restore);
	item_set(item, "warm", false, yes, "%s%s",
		 yes ? "a process that is moved here finds its memory held ready" :
		       "a process that is moved here will have a plain restore: ",
		 yes ? "" : why);
}

static void check_keeper(struct item *item)
{
	struct reason why;
	int dir = keeper_dir_open(&why);

	item_set(item, "keeper", true, dir >= 0, "%s",
		 dir >= 0 ? "its directory is ours and closed to others" : why.text);
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
	enum { SCAN, ASYNC, GUARD, HOLES, SOFT_DIRTY, BREAKPOINTS, CRIU, KEEPER, WARM, RUNTIMES };
	struct item items[RUNTIMES + RUNTIME_ITEMS];
	struct pagescan_kernel kernel;
	struct utsname name;
	bool json = false, stops;
	int status = parse_options(argc, argv, "check [--json]\nTells what kernel, criu and container runtimes offer.",
				   &json, 0, 0);

	if (status >= 0)
		return status;
	uname(&name);
	pagescan_probe(&kernel);
	stops = breakpoints_work();

	item_set(&items[SCAN], "pagemap_scan", true, kernel.scan, "%s",
		 kernel_error(kernel.scan_error, "the kernel has no PAGEMAP_SCAN ioctl: 6.7 or later is needed"));
	item_set(&items[ASYNC], "wp_async", true, kernel.wp_async, "%s",
		 kernel_error(kernel.wp_async_error, "no asynchronous userfaultfd write-protection: x86-64 6.7, arm64 "
						     "6.10 or later is needed"));
	item_set(&items[GUARD], "guard", false, kernel.guard, "%s",
		 kernel.guard ? "works" : "the kernel does not tell guard pages");
	item_set(&items[HOLES], "holes_written", false, kernel.holes_written, "%s", holes(&kernel));
	item_set(&items[SOFT_DIRTY], "soft_dirty", false, kernel.soft_dirty, "%s",
		 kernel_error(kernel.soft_dirty_error, "the kernel has no soft-dirty tracking"));
	item_set(&items[BREAKPOINTS], "breakpoints", false, stops, "%s",
		 stops ? "works" :
			 "this machine does not stop at hardware breakpoints: criu before 4.2 hangs unless it is told "
			 "to do "
			 "without them (CRIU_FAULT=130), as `pagescan criu` does");
	check_criu(&items[CRIU], name.release);
	check_keeper(&items[KEEPER]);
	check_warm(&items[WARM], items[CRIU].yes);
	check_runtimes(&items[RUNTIMES], &kernel, stops, &items[CRIU]);
	return print(items, sizeof(items) / sizeof(*items), name.release, json);
}
