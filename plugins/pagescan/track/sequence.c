// SPDX-License-Identifier: GPL-2.0-only
/*
 * sequence.c - keep a stopped thread's restartable sequence. Calls ptrace(2).
 */
#include <errno.h>
#include <linux/rseq.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>

#include "sequence.h"

void sequence_keep(struct sequence *sequence, int tid)
{
	struct __ptrace_rseq_configuration rseq = { 0 };

	*sequence = (struct sequence){ 0 };
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(rseq), &rseq) < 0 || !rseq.rseq_abi_pointer)
		return;
	sequence->at = (void *)(uintptr_t)(rseq.rseq_abi_pointer + offsetof(struct rseq, rseq_cs));
	errno = 0;
	sequence->word = ptrace(PTRACE_PEEKDATA, tid, sequence->at, NULL);
	if (errno)
		sequence->word = 0;
}

void sequence_put_back(const struct sequence *sequence, int tid)
{
	if (sequence->word)
		ptrace(PTRACE_POKEDATA, tid, sequence->at, (void *)sequence->word);
}
