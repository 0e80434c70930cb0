// SPDX-License-Identifier: GPL-2.0-only
/*
 * The talk with the runner between two rounds. ZDTM_NOTIFY_FDIN and _FDOUT number two descriptors, each one end of a
 * pipe of our own; the runner opens the other end through /proc/PID/fd.
 */
#include <fcntl.h>
#include <signal.h>

#include "lib.h"
#include "zdtmtst.h"

static int fd_in = -1, fd_out = -1;

static int place(const char *variable, int end)
{
	const char *number = getenv(variable);
	int ends[2], fd;

	if (!number)
		return -1;
	fd = atoi(number);
	if (pipe(ends) || dup2(ends[end], fd) < 0) {
		perror(variable);
		exit(1);
	}
	close(ends[end]);
	/* The writing end of "in" stays open here, or waiting for the runner would be reading an end of file. */
	if (end == 1)
		close(ends[0]);
	return fd;
}

void notify_init(void)
{
	fd_in = place("ZDTM_NOTIFY_FDIN", 0);
	fd_out = place("ZDTM_NOTIFY_FDOUT", 1);
}

void notify_end(void)
{
	if (fd_in >= 0)
		close(fd_in);
}

int test_wait_pre_dump(void)
{
	int message;

	if (fd_in >= 0 && read(fd_in, &message, sizeof(message)) == sizeof(message))
		return 0;
	if (fd_in < 0 || test_go())
		pr_perror("wait for the runner on descriptor %d", fd_in);
	return -1;
}

int test_wait_pre_dump_ack(void)
{
	const int message = 0;

	if (write(fd_out, &message, sizeof(message)) == sizeof(message))
		return 0;
	pr_perror("answer the runner on descriptor %d", fd_out);
	return -1;
}
