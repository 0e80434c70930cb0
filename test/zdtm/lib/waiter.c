// SPDX-License-Identifier: GPL-2.0-only
/* Tasks waiting for each other: the numbers of those that are done lie in a pipe, which CRIU dumps with its data. */
#include <sys/syscall.h>

#include "zdtmtst.h"

static void check(ssize_t ret)
{
	if (ret == sizeof(unsigned int))
		return;
	pr_perror("task waiter");
	exit(1);
}

void task_waiter_init(task_waiter_t *t)
{
	if (pipe(t->pipes))
		exit(pr_perror("task waiter"));
}

void task_waiter_fini(task_waiter_t *t)
{
	close(t->pipes[0]);
	close(t->pipes[1]);
}

void task_waiter_wait4(task_waiter_t *t, unsigned int lockid)
{
	unsigned int id;

	for (;;) {
		check(read(t->pipes[0], &id, sizeof(id)));
		if (id == lockid)
			return;
		/* Somebody else's: back, and let him have it. */
		check(write(t->pipes[1], &id, sizeof(id)));
		usleep(1000);
	}
}

void task_waiter_complete(task_waiter_t *t, unsigned int lockid)
{
	check(write(t->pipes[1], &lockid, sizeof(lockid)));
}

void task_waiter_complete_current(task_waiter_t *t)
{
	task_waiter_complete(t, syscall(SYS_gettid));
}
