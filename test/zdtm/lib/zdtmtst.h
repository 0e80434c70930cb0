/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a test program under test/zdtm may use. The names and signatures are those of the zdtm suite, so that each
 * test also builds and runs there.
 *
 * Life of a test: test_init() forks the task that will be dumped (the caller goes on in it), the test sets its memory
 * up, test_daemon() tells the world that it is ready; then it works while test_go(), and after SIGTERM, which comes
 * after the restore, verifies and calls pass() or fail(). A machine that lacks something: skip() and return 77
 * before test_daemon().
 */
#ifndef ZDTMTST_H
#define ZDTMTST_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef PAGE_SIZE
#define PAGE_SIZE ((unsigned int)sysconf(_SC_PAGESIZE))
#endif

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))

/* Each test defines both. */
extern const char *test_doc;
extern const char *test_author;

/* test.c */
void test_init(int argc, char **argv);
void test_daemon(void);
int test_go(void);	  /* has SIGTERM not come yet? */
void test_waitsig(void);  /* sleeps until SIGTERM */
int test_fork_id(int id); /* fork(); the id is zdtm's and unused */
#define test_fork() test_fork_id(-1)

/*
 * notify.c, for tests with the flag pre-dump-notify: the runner writes a message after each pre-dump and waits for the
 * answer. Both return 0, or -1 when there is no runner to talk to (any more): SIGTERM came.
 */
int test_wait_pre_dump(void);
int test_wait_pre_dump_ack(void);

/* msg.c: everything goes to the outfile; errno survives. */
void test_msg(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define __test_errno(kind, format, ...)                                                                    \
	test_msg(kind ": %s:%d: " format " (errno = %d (%s))\n", __FILE__, __LINE__, ##__VA_ARGS__, errno, \
		 strerror(errno))

/* As expressions, these are 1: `return pr_perror(...)` ends main() with failure. */
#define pr_err(format, ...)                                                         \
	({                                                                          \
		test_msg("ERR: %s:%d: " format, __FILE__, __LINE__, ##__VA_ARGS__); \
		1;                                                                  \
	})
#define pr_perror(format, ...)                              \
	({                                                  \
		__test_errno("ERR", format, ##__VA_ARGS__); \
		1;                                          \
	})
#define fail(format, ...)                                    \
	({                                                   \
		__test_errno("FAIL", format, ##__VA_ARGS__); \
		1;                                           \
	})
#define skip(format, ...) test_msg("SKIP: %s:%d: " format "\n", __FILE__, __LINE__, ##__VA_ARGS__)
#define pass()		  test_msg("PASS\n")

/* data.c: random bytes, the checksum of which is their last four and is continued in *crc (which may be NULL). */
void datagen(uint8_t *buffer, unsigned int length, uint32_t *crc);
int datachk(const uint8_t *buffer, unsigned int length, uint32_t *crc); /* 0: as datagen() left it */

/* waiter.c: tasks wait for each other by number, across fork() and threads. */
typedef struct {
	int pipes[2];
} task_waiter_t;

void task_waiter_init(task_waiter_t *t);
void task_waiter_fini(task_waiter_t *t);
void task_waiter_wait4(task_waiter_t *t, unsigned int lockid);
void task_waiter_complete(task_waiter_t *t, unsigned int lockid);
void task_waiter_complete_current(task_waiter_t *t); /* the number is the thread's id */

/* opts.c: the variable NAME is set by --NAME=value or --NAME value. Types: string, int, uint, bool. */
struct test_option {
	const char *name;
	const char *type;
	const char *doc;
	bool required;
	union {
		char **as_string;
		int *as_int;
		unsigned int *as_uint;
		int *as_bool;
	};
	struct test_option *next;
};

#define TEST_OPTION(var, kind, text, is_required)                              \
	static struct test_option __test_option_##var = {                      \
		.name = #var,                                                  \
		.type = #kind,                                                 \
		.doc = text,                                                   \
		.required = is_required,                                       \
		.as_##kind = &(var),                                           \
	};                                                                     \
	__attribute__((constructor)) static void __test_option_add_##var(void) \
	{                                                                      \
		test_option_add(&__test_option_##var);                         \
	}

void test_option_add(struct test_option *option);
void test_options_parse(int argc, char **argv);

#define ssprintf(s, fmt, ...)                                           \
	({                                                              \
		int __len = snprintf(s, sizeof(s), fmt, ##__VA_ARGS__); \
		if (__len < 0 || (size_t)__len >= sizeof(s))            \
			abort();                                        \
		__len;                                                  \
	})

#define cleanup_free  __attribute__((cleanup(cleanup_freep)))
#define cleanup_close __attribute__((cleanup(cleanup_closep)))

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_closep(void *p)
{
	int fd = *(int *)p;

	if (fd >= 0)
		close(fd);
}

#endif
