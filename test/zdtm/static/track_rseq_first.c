// SPDX-License-Identifier: GPL-2.0-only
/*
 * A restartable sequence of the first thread, in which tracking runs its system calls: a step that only an abort ends.
 * If the abort is lost in a round, the step goes on, in the restored process too, and ends by seeing SIGTERM.
 *
 * Without pre-dumps: there CRIU itself loses it before 4.2.1.
 */
#include <signal.h>

#include "track_rseq.h"
#include "zdtmtst.h"

const char *test_doc = "the first thread in a restartable sequence";
const char *test_author = "criu-pagescan";

#ifdef HAVE_SEQUENCES

static volatile int enough;

static void on_sigterm(int signo)
{
	enough = signo;
}

/* False if it has gone on until the end was to come, and not been aborted by that. */
static bool step(void)
{
	asm goto(SEQUENCE_BEGIN
#ifdef __x86_64__
		 "cmpl $0, %[enough]\n"
		 "jnz %l[aborted]\n"
		 "5:\n"
		 "pause\n"
		 "cmpl $0, %[enough]\n"
		 "jz 5b\n"
#else
		 "ldr w9, %[enough]\n"
		 "cbnz w9, %l[aborted]\n"
		 "5:\n"
		 "yield\n"
		 "ldr w9, %[enough]\n"
		 "cbz w9, 5b\n"
#endif
		 SEQUENCE_END
		 :
		 : SEQUENCE_OPERANDS(sequence_self()), [enough] "m"(enough)
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
