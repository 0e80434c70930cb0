// SPDX-License-Identifier: GPL-2.0-only
/*
 * A restartable sequence of the first thread, in which tracking runs its system calls: a step that only an abort ends.
 * If the abort is lost in a round, the step goes on, in the restored process too, and ends by seeing SIGTERM.
 *
 * Without pre-dumps: there CRIU itself loses it before 4.2.1.
 */
#include <signal.h>
#include <stddef.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include "zdtmtst.h"

const char *test_doc = "the first thread in a restartable sequence";
const char *test_author = "criu-pagescan";

#if defined(RSEQ_SIG) && (defined(__x86_64__) || defined(__aarch64__))

#ifdef __x86_64__
#define SCRATCH "rax"
#else
#define SCRATCH "x9"
#endif

static volatile int enough;

static void on_sigterm(int signo)
{
	enough = signo;
}

/* False if it has gone on until the end was to come, and not been aborted by that. */
static bool step(void)
{
	struct rseq *rs = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	asm goto(".pushsection __rseq_cs, \"aw\"\n"
		 ".balign 32\n"
		 "3:\n"
		 ".long 0, 0\n"
		 ".quad 1f, 2f - 1f, 4f\n"
		 ".popsection\n"
#ifdef __x86_64__
		 "leaq 3b(%%rip), %%rax\n"
		 "movq %%rax, %[cs]\n"
		 "1:\n"
		 "cmpl $0, %[enough]\n"
		 "jnz %l[aborted]\n"
		 "5:\n"
		 "pause\n"
		 "cmpl $0, %[enough]\n"
		 "jz 5b\n"
		 "2:\n"
		 ".pushsection __rseq_failure, \"ax\"\n"
		 /* The kernel goes to an abort handler only behind this signature, here inside of an ud1. */
		 ".byte 0x0f, 0xb9, 0x3d\n"
		 ".long %c[signature]\n"
		 "4:\n"
		 "jmp %l[aborted]\n"
#else
		 "adrp x9, 3b\n"
		 "add x9, x9, :lo12:3b\n"
		 "str x9, %[cs]\n"
		 "1:\n"
		 "ldr w9, %[enough]\n"
		 "cbnz w9, %l[aborted]\n"
		 "5:\n"
		 "yield\n"
		 "ldr w9, %[enough]\n"
		 "cbz w9, 5b\n"
		 "2:\n"
		 ".pushsection __rseq_failure, \"ax\"\n"
		 ".long %c[signature]\n"
		 "4:\n"
		 "b %l[aborted]\n"
#endif
		 ".popsection\n"
		 :
		 : [cs] "m"(rs->rseq_cs), [enough] "m"(enough), [signature] "i"(RSEQ_SIG)
		 : "memory", "cc", SCRATCH
		 : aborted);
	return false;
aborted:
	return true;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_sigterm };

	test_init(argc, argv);
	if (!__rseq_size) {
		skip("a kernel and a C library with restartable sequences");
		return 77;
	}
	if (sigaction(SIGTERM, &sa, NULL))
		return pr_perror("sigaction");

	test_daemon();
	while (!enough) {
		if (!step())
			return fail("A step was not aborted\n");
	}
	pass();
	return 0;
}

#else

int main(int argc, char **argv)
{
	test_init(argc, argv);
	skip("a restartable sequence for this architecture, and <sys/rseq.h>");
	return 77;
}

#endif
