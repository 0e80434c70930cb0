// SPDX-License-Identifier: GPL-2.0-only
/* A test's words: each message is one write(), because tasks and threads share the outfile. */
#include <fcntl.h>
#include <stdarg.h>
#include <time.h>

#include "lib.h"
#include "zdtmtst.h"

void msg_init(const char *outfile)
{
	int fd = open(outfile, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0644);

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
		perror(outfile);
		exit(1);
	}
	close(fd);
	setbuf(stdout, NULL);
}

void test_msg(const char *format, ...)
{
	int saved_errno = errno, len;
	struct timespec now;
	char line[2048];
	va_list args;

	/* Not localtime(): it reads files and allocates, and a test may stand in a signal handler or a child. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	len = ssprintf(line, "%lld.%03ld: %5d: ", (long long)now.tv_sec, now.tv_nsec / 1000000, getpid());
	va_start(args, format);
	len += vsnprintf(line + len, sizeof(line) - len, format, args);
	va_end(args);
	if (len >= (int)sizeof(line))
		len = sizeof(line) - 1;
	if (write(STDERR_FILENO, line, len) != len)
		abort();
	errno = saved_errno;
}
