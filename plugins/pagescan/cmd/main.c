// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - the pagescan command: one table of subcommands, and what they share. Calls the cmd files, identity, libc,
 * jansson.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "move/hook.h"
#include "track/identity.h"

/* A NULL help keeps a subcommand out of --help and completion: it is not for people. */
static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "criu", cmd_criu, "run criu with the plugin and its memory tracking switched on" },
	{ "dump", cmd_dump, "dump a process tree after as many rounds as make the pause short" },
	{ "migrate", cmd_migrate, "move a process tree to another machine while it runs" },
	{ "receive", cmd_receive, "be the destination of a migration" },
	{ "pre-dump", cmd_pre_dump, "copy a process tree's memory into images while it runs" },
	{ "watch", cmd_watch, "show where and how fast a process tree writes" },
	{ "report", cmd_report, "show a chain of rounds as an HTML page" },
	{ "check", cmd_check, "tell what the kernel, criu and container runtimes offer" },
	{ "status", cmd_status, "list the tasks whose memory is tracked" },
	{ "scan", cmd_scan, "show the state of a process's pages" },
	{ "verify", cmd_verify, "hold a task's clean pages against its images" },
	{ "untrack", cmd_untrack, "stop tracking a task, or all" },
	{ "keeper", cmd_keeper, NULL },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(*commands))

void complain(const char *format, ...)
{
	va_list args;

	fputs("pagescan: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

int parse_options(int argc, char **argv, const char *usage, bool *json, int min, int max)
{
	const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ json ? "json" : NULL, no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'h':
			printf("Usage: pagescan %s\n", usage);
			return EXIT_SUCCESS;
		case 'j':
			if (json)
				*json = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind < min || argc - optind > max) {
		fprintf(stderr, "Usage: pagescan %s\n", usage);
		return EXIT_USAGE;
	}
	return -1;
}

int parse_pid(const char *text)
{
	char *end;
	long pid = strtol(text, &end, 10);

	if (*end || end == text || pid <= 0 || pid > INT_MAX) {
		complain("'%s' is not a pid", text);
		return 0;
	}
	return (int)pid;
}

int parse_number(const char *name, const char *text, unsigned long min, unsigned long max, unsigned long *number)
{
	char *end;

	errno = 0;
	*number = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *number >= min && *number <= max)
		return 0;
	complain("--%s wants a number from %lu to %lu, not '%s'", name, min, max, text);
	return -EINVAL;
}

uint64_t parse_rate(const char *text)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;
	uint64_t rate;

	errno = 0;
	rate = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (*text >= '0' && *text <= '9' && !errno && rate && (!*end || (unit && !end[1]))) {
		int shift = unit ? 10 * (int)(unit - units + 1) : 0;

		if (rate <= UINT64_MAX >> shift)
			return rate << shift;
	}
	complain("'%s' is not a rate: bytes a second, as in 800K, 200M or 1G", text);
	return 0;
}

int open_process(int pid)
{
	int dir = identity_open(pid);

	if (dir < 0)
		complain(dir == -ESRCH ? "there is no process %d" : "cannot look at process %d", pid);
	return dir;
}

/* Something that was to go into the answer did not: half an answer is none. */
static bool json_lost;

void json_put(json_t *object, const char *name, json_t *value)
{
	if (json_object_set_new(object, name, value))
		json_lost = true;
}

void json_append(json_t *list, json_t *value)
{
	if (json_array_append_new(list, value))
		json_lost = true;
}

int print_json(json_t *value)
{
	int err = !value || json_lost || json_dumpf(value, stdout, JSON_INDENT(2));

	/* That it could not be written is told at the end. */
	if (err && !ferror(stdout))
		complain("out of memory");
	if (!err)
		putchar('\n');
	json_decref(value);
	return err ? EXIT_FAILED : EXIT_SUCCESS;
}

static void print_help(FILE *out)
{
	fputs("Usage: pagescan COMMAND [ARGUMENTS]\n\n"
	      "Incremental checkpoints for stock CRIU by PAGEMAP_SCAN and userfaultfd write-protection.\n\n"
	      "Commands:\n",
	      out);
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		if (commands[i].help)
			fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	}
	fputs("\n'pagescan COMMAND --help' tells its arguments; see pagescan(8).\n", out);
}

/* What was printed may not have been written: a full disk is no success. */
static int finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	complain("cannot write: %s", strerror(errno));
	return status ? status : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	const char *program = argc ? strrchr(argv[0], '/') : NULL;

	if (program && !strcmp(program + 1, HOOK_PROGRAM))
		return hook_main(argv[0]);

	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		print_help(stdout);
		return finish(EXIT_SUCCESS);
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts("pagescan " PAGESCAN_VERSION);
		return finish(EXIT_SUCCESS);
	}
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		if (!strcmp(name, commands[i].name))
			return finish(commands[i].run(argc - 1, argv + 1));
	}
	if (*name)
		complain("'%s' is not a command", name);
	print_help(stderr);
	return EXIT_USAGE;
}
