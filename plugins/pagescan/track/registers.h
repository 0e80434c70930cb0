/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * registers.h - what differs from one architecture to the next when a system call is run in a stopped thread.
 */
#ifndef PAGESCAN_TRACK_REGISTERS_H
#define PAGESCAN_TRACK_REGISTERS_H

#include <stdint.h>
#include <sys/user.h>

/* The general registers as PTRACE_GETREGSET with NT_PRSTATUS hands them out. */
struct registers {
	struct user_regs_struct user;
};

#if defined(__x86_64__)

/* syscall */
#define SYSCALL_INSTRUCTION \
	{                   \
		0x0f, 0x05  \
	}
#define SYSCALL_ALIGNMENT 1

/*
 * orig_rax names the system call that the kernel may have to restart (arch/x86/kernel/signal.c,
 * arch_do_signal_or_restart); -1 is none.
 */
static inline void registers_call(struct registers *registers, uint64_t at, long nr, const unsigned long args[6])
{
	struct user_regs_struct *user = &registers->user;

	user->rip = at;
	user->rax = (unsigned long)nr;
	user->orig_rax = (unsigned long)-1;
	user->rdi = args[0];
	user->rsi = args[1];
	user->rdx = args[2];
	user->r10 = args[3];
	user->r8 = args[4];
	user->r9 = args[5];
}

static inline long registers_result(const struct registers *registers)
{
	return (long)registers->user.rax;
}

#elif defined(__aarch64__)

/* svc #0 */
#define SYSCALL_INSTRUCTION            \
	{                              \
		0x01, 0x00, 0x00, 0xd4 \
	}
#define SYSCALL_ALIGNMENT 4

/* A system call to restart has its program counter set back before the stop (arch/arm64/kernel/signal.c, do_signal). */
static inline void registers_call(struct registers *registers, uint64_t at, long nr, const unsigned long args[6])
{
	registers->user.pc = at;
	registers->user.regs[8] = (unsigned long)nr;
	for (int i = 0; i < 6; i++)
		registers->user.regs[i] = args[i];
}

static inline long registers_result(const struct registers *registers)
{
	return (long)registers->user.regs[0];
}

#else
#error "the registers of this architecture are not known here"
#endif

#endif
