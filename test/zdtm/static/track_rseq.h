/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restartable sequences (rseq(2), kernel/rseq.c), for tests that are stopped in one: what stands in assembly around its
 * instructions. HAVE_SEQUENCES: this architecture and C library have them; __rseq_size tells it of the kernel.
 */
#ifndef TRACK_RSEQ_H
#define TRACK_RSEQ_H

#include <stddef.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#if defined(RSEQ_SIG) && (defined(__x86_64__) || defined(__aarch64__))
#define HAVE_SEQUENCES

/*
 * An asm goto is SEQUENCE_BEGIN, instructions, SEQUENCE_END, with SEQUENCE_OPERANDS(rs) among its inputs and SCRATCH
 * among its clobbers. If the thread is stopped or moved in between, the kernel continues at the label `aborted`; so do
 * instructions that jump to 4f.
 */
#define SEQUENCE_DESCRIPTOR                \
	".pushsection __rseq_cs, \"aw\"\n" \
	".balign 32\n"                     \
	"3:\n"                             \
	".long 0, 0\n"                     \
	".quad 1f, 2f - 1f, 4f\n"          \
	".popsection\n"

#ifdef __x86_64__
#define SCRATCH "rax"
#define SEQUENCE_BEGIN            \
	SEQUENCE_DESCRIPTOR       \
	"leaq 3b(%%rip), %%rax\n" \
	"movq %%rax, %[cs]\n"     \
	"1:\n"
/* The kernel goes to an abort handler only behind the signature, here inside of an ud1. */
#define SEQUENCE_END                            \
	"2:\n"                                  \
	".pushsection __rseq_failure, \"ax\"\n" \
	".byte 0x0f, 0xb9, 0x3d\n"              \
	".long %c[signature]\n"                 \
	"4:\n"                                  \
	"jmp %l[aborted]\n"                     \
	".popsection\n"
#else
#define SCRATCH "x9"
#define SEQUENCE_BEGIN           \
	SEQUENCE_DESCRIPTOR      \
	"adrp x9, 3b\n"          \
	"add x9, x9, :lo12:3b\n" \
	"str x9, %[cs]\n"        \
	"1:\n"
#define SEQUENCE_END                            \
	"2:\n"                                  \
	".pushsection __rseq_failure, \"ax\"\n" \
	".long %c[signature]\n"                 \
	"4:\n"                                  \
	"b %l[aborted]\n"                       \
	".popsection\n"
#endif

#define SEQUENCE_OPERANDS(rs) [cs] "m"((rs)->rseq_cs), [signature] "i"(RSEQ_SIG)

static inline struct rseq *sequence_self(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

#endif
#endif
