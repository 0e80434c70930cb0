// SPDX-License-Identifier: GPL-2.0-only
/*
 * breakpoints.c - does this machine stop at hardware breakpoints? Calls the kernel.
 *
 * libcompel sets one where injected code ends (compel/src/lib/infect.c, compel_stop_pie). Some virtual machines take it
 * and never stop there, and CRIU before 4.2 then waits for ever; 4.2 makes this very test (criu/kerndat.c,
 * kerndat_breakpoints).
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

#ifdef __x86_64__

static void __attribute__((noinline)) here(void)
{
	__asm__ volatile("" ::: "memory");
}

static int wait_for(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return 0;
	}
	return status;
}

bool breakpoints_work(void)
{
	const pid_t child = fork();
	bool set;
	int status;

	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(1);
		raise(SIGSTOP);
		here();
		_exit(0);
	}
	/* Who cannot try leaves it to criu. */
	if (child < 0 || !WIFSTOPPED(wait_for(child)))
		return true;
	set = !ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]), here) &&
	      !ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), 1L);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	status = wait_for(child);
	if (WIFSTOPPED(status)) {
		kill(child, SIGKILL);
		wait_for(child);
		return true;
	}
	return !set;
}

#else

bool breakpoints_work(void)
{
	return true;
}

#endif
