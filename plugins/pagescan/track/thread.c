// SPDX-License-Identifier: GPL-2.0-only
/*
 * thread.c - run system calls in a thread of a running process. Calls ptrace(2), sequence, identity,
 * clock, scan (areas), /proc.
 *
 * All of it by stops that make no signal: PTRACE_INTERRUPT and system call stops. A breakpoint would send SIGTRAP, which
 * a process may use itself. The thread is stopped twice on its way back to user mode, where the kernel decides over
 * the restart of a system call and of a restartable sequence: first to take its registers, then to give them back, so
 * that it decides by them.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "identity.h"
#include "registers.h"
#include "scan/areas.h"
#include "thread.h"

#define SYSCALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

/* PTRACE_O_SUSPEND_SECCOMP, which some C libraries do not name. */
#define SUSPEND_SECCOMP (1UL << 21)

static int get_registers(int tid, struct registers *registers)
{
	struct iovec io = { registers, sizeof(*registers) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io) < 0)
		return -errno;
	/* A thread in 32-bit mode has fewer. */
	return io.iov_len == sizeof(*registers) ? 0 : -EOPNOTSUPP;
}

static int set_registers(int tid, const struct registers *registers)
{
	struct iovec io = { (void *)registers, sizeof(*registers) };

	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

/* Wait for the next stop. Returns 0, -EINTR, or -ESRCH: it ended. */
static int next_stop(struct thread *thread, int *status)
{
	if (waitpid(thread->tid, status, __WALL) < 0)
		return errno == EINTR ? -EINTR : -ESRCH;
	if (WIFSTOPPED(*status))
		return 0;
	thread->gone = true;
	return -ESRCH;
}

/*
 * Go on by @request until a stop that @wanted accepts. A signal that arrives before anything was altered is the
 * thread's own business. Afterwards all are blocked but SIGSTOP, which is sent again in the end, and SIGKILL.
 */
static int run_to(struct thread *thread, int request, bool (*wanted)(int status))
{
	int signal = 0, status, err;

	for (;;) {
		if (request && ptrace(request, thread->tid, NULL, signal) < 0)
			return -ESRCH;
		do
			err = next_stop(thread, &status);
		while (err == -EINTR && thread->altered);
		if (err || wanted(status))
			return err;
		request = request ? request : PTRACE_CONT;
		signal = status >> 16 || WSTOPSIG(status) == SYSCALL_STOP ? 0 : WSTOPSIG(status);
		if (thread->altered && signal) {
			thread->stop_signal = signal;
			signal = 0;
		}
	}
}

/* By PTRACE_INTERRUPT, or because of job control: on the way to user mode, before a signal is looked for. */
static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_syscall_stop(int status)
{
	return WSTOPSIG(status) == SYSCALL_STOP;
}

static int thread_syscall(void *ctx, long nr, const unsigned long args[6], long *result)
{
	struct registers registers;
	struct thread *thread = ctx;
	int err;

	registers = *thread->registers;
	registers_call(&registers, thread->instruction, nr, args);
	thread->altered = true;
	err = set_registers(thread->tid, &registers);
	for (int stop = 0; !err && stop < 2; stop++) /* where it enters the kernel, and where it leaves it */
		err = run_to(thread, PTRACE_SYSCALL, is_syscall_stop);
	if (!err)
		err = get_registers(thread->tid, &registers);
	if (!err)
		*result = registers_result(&registers);
	return err;
}

/* The address of a system call instruction in the process's vdso. Returns 0 or a negative errno. */
static int find_instruction(struct thread *thread, int proc_dir)
{
	static const unsigned char instruction[] = SYSCALL_INSTRUCTION;
	struct areas areas;
	int err = areas_read(proc_dir, &areas);
	int mem = openat(proc_dir, "mem", O_RDONLY | O_CLOEXEC);

	if (!err && mem < 0)
		err = -errno;
	for (size_t i = 0; !err && !thread->instruction && i < areas.nr; i++) {
		const size_t size = areas.v[i].end - areas.v[i].start;
		unsigned char *code = areas.v[i].vdso ? malloc(size) : NULL;

		if (code && pread(mem, code, size, (off_t)areas.v[i].start) == (ssize_t)size) {
			for (size_t at = 0; !thread->instruction && at + sizeof(instruction) <= size;
			     at += SYSCALL_ALIGNMENT) {
				if (!memcmp(code + at, instruction, sizeof(instruction)))
					thread->instruction = areas.v[i].start + at;
			}
		}
		free(code);
	}
	if (mem >= 0)
		close(mem);
	areas_fini(&areas);
	return err ? err : thread->instruction ? 0 : -EOPNOTSUPP;
}

/* The state letter of a thread, and whether it has a seccomp filter. 0: it is gone. */
static char look_at(int proc_dir, const char *tid, bool *seccomp)
{
	char path[64], line[256];
	char state = 0;
	FILE *status;
	int fd;

	snprintf(path, sizeof(path), "task/%.10s/status", tid);
	fd = openat(proc_dir, path, O_RDONLY | O_CLOEXEC);
	status = fd >= 0 ? fdopen(fd, "r") : NULL;
	*seccomp = false;
	while (status && fgets(line, sizeof(line), status)) {
		if (!strncmp(line, "State:\t", 7))
			state = line[7];
		else if (!strncmp(line, "Seccomp:\t", 9))
			*seccomp = line[9] != '0';
	}
	if (status)
		fclose(status);
	return state;
}

/* Seize and stop this thread. After an error it is as before, but for a pending trap that the end of its tracer takes back. */
static int stop_one(struct thread *thread, bool seccomp)
{
	const unsigned long options = PTRACE_O_TRACESYSGOOD | (seccomp ? SUSPEND_SECCOMP : 0);
	int err;

	if (ptrace(PTRACE_SEIZE, thread->tid, NULL, options) < 0)
		return -errno;
	thread->since = clock_ns();
	if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) < 0)
		return -errno;
	err = run_to(thread, 0, is_event_stop);
	if (err)
		return err == -EINTR ? -ETIMEDOUT : err;

	err = get_registers(thread->tid, thread->registers);
	if (!err && ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof(thread->signals), &thread->signals) < 0)
		err = -errno;
	if (!err) {
		const uint64_t all = ~0ULL;

		sequence_keep(&thread->sequence, thread->tid);
		thread->altered = true;
		if (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof(all), &all) < 0)
			err = -errno;
	}
	if (err)
		ptrace(PTRACE_DETACH, thread->tid, NULL, NULL);
	return err;
}

/*
 * Try one thread after the other, the first one first. Those that sleep where nothing interrupts them (as one does that
 * waits for its vfork(2)ed child) are tried last.
 */
static int stop_any(struct thread *thread, int proc_dir)
{
	int err = -ESRCH;

	for (int sleepers = 0; sleepers < 2; sleepers++) {
		int fd = openat(proc_dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *tasks = fd >= 0 ? fdopendir(fd) : NULL;
		const struct dirent *entry;

		if (!tasks)
			return fd < 0 ? -errno : -ENOMEM;
		while ((entry = readdir(tasks))) {
			bool seccomp;
			char state = look_at(proc_dir, entry->d_name, &seccomp);

			if (!state || strchr("ZX", state) || (state == 'D') != !!sleepers)
				continue;
			thread->tid = atoi(entry->d_name);
			thread->gone = false;
			err = stop_one(thread, seccomp);
			if (!err)
				break;
		}
		closedir(tasks);
		if (!err)
			return 0;
	}
	return err;
}

int thread_stop(struct thread *thread, int pid, struct reason *why)
{
	int dir = identity_open(pid), err;

	*thread = (struct thread){ .pid = pid, .remote.syscall = thread_syscall, .remote.ctx = thread };
	if (dir < 0)
		return reason_set(why, dir, "the process is gone");
	thread->registers = malloc(sizeof(*thread->registers));
	err = thread->registers ? find_instruction(thread, dir) : -ENOMEM;
	if (err)
		reason_set(why, err, "no system call instruction to be found in its vdso: %s", strerror(-err));
	else
		err = stop_any(thread, dir);
	close(dir);
	if (!err)
		return 0;
	free(thread->registers);
	if (thread->instruction)
		reason_set(why, err,
			   err == -ETIMEDOUT  ? "none of its threads could be stopped in time" :
			   err == -EPERM      ? "its threads may not be traced, or are traced by another process (%s)" :
			   err == -EOPNOTSUPP ? "its threads are not of this program's word size" :
						"its threads cannot be stopped: %s",
			   strerror(-err));
	return err;
}

int thread_go(struct thread *thread)
{
	int err = thread->gone ? -ESRCH : 0;

	/* To be back where the kernel looks at registers for a system call to restart. */
	if (!err)
		err = ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) < 0 ? -ESRCH : 0;
	if (!err)
		err = run_to(thread, PTRACE_CONT, is_event_stop);
	if (!err)
		err = set_registers(thread->tid, thread->registers);
	if (!err) {
		sequence_put_back(&thread->sequence, thread->tid);
		ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof(thread->signals), &thread->signals);
		if (thread->stop_signal)
			syscall(SYS_tgkill, thread->pid, thread->tid, thread->stop_signal);
		ptrace(PTRACE_DETACH, thread->tid, NULL, NULL);
	}
	free(thread->registers);
	return err ? -ESRCH : 0;
}
