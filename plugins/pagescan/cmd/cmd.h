/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cmd.h - the subcommands of pagescan, one file each, and what they share.
 */
#ifndef PAGESCAN_CMD_CMD_H
#define PAGESCAN_CMD_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

/* Each takes its own arguments, argv[0] being its name, and returns the exit status, having complained of an error. */
int cmd_criu(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_pre_dump(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_scan(int argc, char **argv);
int cmd_untrack(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_keeper(int argc, char **argv);

/*
 * Exit statuses: the command could not do its work; it was called wrongly; the dump was made, but its pause may be longer
 * than was wanted; it was not made, and the processes go on.
 */
#define EXIT_FAILED    1
#define EXIT_USAGE     2
#define EXIT_FORCED    3
#define EXIT_CANCELLED 4

/* The program as criu's action script: @program is its path, as it was called. Returns the exit status. */
int hook_main(const char *program);

/*
 * Ask the destination of a migration, by the command @argv, what became of it, until it is known: do the processes run
 * there? If not they never will.
 */
bool settle(char **argv);

/* Print one line to stderr, "pagescan: ...". */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * @usage: what follows "Usage: pagescan ". Parse the options that most subcommands know, --help and (where @json is not
 * NULL) --json, and check that between @min and @max other arguments remain (they begin at optind). Returns -1 to go
 * on, or the exit status to end with.
 */
int parse_options(int argc, char **argv, const char *usage, bool *json, int min, int max);

/* A pid from the command line. Returns 0 after a complaint. */
int parse_pid(const char *text);

/*
 * A number from @min to @max that option @name was given. Returns 0 or, after a complaint, a negative errno.
 */
int parse_number(const char *name, const char *text, unsigned long min, unsigned long max, unsigned long *number);

/* Bytes a second: a number, with K, M or G behind it for powers of 1024. Returns 0 after a complaint. */
uint64_t parse_rate(const char *text);

/* An open /proc/PID, the caller's. Returns -1 after a complaint. */
int open_process(int pid);

/* Add @value, which is consumed, to an object or a list. If it cannot be added print_json() will print nothing. */
void json_put(json_t *object, const char *name, json_t *value);
void json_append(json_t *list, json_t *value);

/* Print @value, which is consumed, to stdout. Returns the exit status. */
int print_json(json_t *value);

/*
 * The criu to run: $PAGESCAN_CRIU, or the first `criu` in PATH that is a program: a script of that name may well be
 * the launcher or another one that runs `pagescan criu`. Where such a script has taken a program's place by
 * dpkg-divert(1), the program is criu.distrib beside it. Returns a string of the caller's, NULL if there is none.
 */
char *find_criu(void);

/* The same; NULL after a complaint. */
char *need_criu(void);

/* The first line of `criu --version`, "Version: 4.1.1". Returns false if criu cannot be run. */
bool criu_version(const char *criu, char *version, size_t size);

/*
 * Become criu, with the plugin preloaded and these arguments (argv[0] is set here). Returns only after a complaint: the
 * exit status.
 */
int exec_criu(char **argv);

/* Does this machine stop at hardware breakpoints, as far as that can be tried? */
bool breakpoints_work(void);

/*
 * Does the dynamic loader ignore LD_PRELOAD when this user runs @criu? It does for a program with rights of its own,
 * file capabilities for instance (ld.so(8), secure-execution mode).
 */
bool ignores_preload(const char *criu);

/*
 * The criu, program or script, that others get who look for one in the directories of @path, as container runtimes do.
 * @way: is it plain, or does it run `pagescan criu`, perhaps in the place of another? Returns a string of the caller's,
 * NULL if there is none.
 */
enum criu_way { CRIU_PLAIN, CRIU_LAUNCHER, CRIU_DIVERTED };
char *criu_of_others(const char *path, enum criu_way *way);

#endif
