// SPDX-License-Identifier: GPL-2.0-only
/*
 * A child that raises SIGTRAP again and again, by a breakpoint instruction where there is one, and writes its memory in
 * its handler. Who stops it with ptrace meets traps that are not his. Before it writes a page, it looks whether the
 * page still is as it left it: it writes on after the restore, and would soon have covered up what was stale.
 */
#include <ucontext.h>

#include "track_model.h"

const char *test_doc = "a task that traps all the time";
const char *test_author = "criu-pagescan";

/*
 * Pages written for each trap: some 0.4 ms of work. A task that does nothing but trap is no test, because CRIU 4.1.1
 * refuses one that it meets with a SIGTRAP pending: that was one freeze in twenty.
 */
#define WRITES 256

static struct model own = { .name = "the parent's", .id = 1, .pages = 1024 };
static struct model area = { .name = "written in the handler", .id = 2, .pages = 512 };

/* Shared memory: it is dumped whole each time, never taken from a parent. */
static struct {
	unsigned int generation[512];
	unsigned int writes;
	volatile unsigned int stop, wrong;
} * truth;

static void on_trap(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
#ifdef __aarch64__
	/* The task is still at its breakpoint, and else would return to it. */
	((ucontext_t *)context)->uc_mcontext.pc += 4;
#endif
	for (unsigned int i = 0; i < WRITES; i++) {
		size_t page = model_mix(++truth->writes) % area.pages;

		truth->wrong += model_differs(&area, page, truth->generation[page], model_addr(&area, page),
					      truth->wrong >= MODEL_COMPLAINTS);
		model_put(&area, page, truth->writes & 0xffffff);
		truth->generation[page] = truth->writes & 0xffffff;
	}
}

static void trap(void)
{
#if defined(__x86_64__) || defined(__i386__)
	asm volatile("int3");
#elif defined(__aarch64__)
	asm volatile("brk #0");
#else
	raise(SIGTRAP);
#endif
}

static unsigned int generation(const struct model *m, size_t page, unsigned int round)
{
	(void)m, (void)round;
	return truth->generation[page];
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct peer child;
	unsigned int round;
	size_t wrong;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&own);
	model_map_private(&area);
	model_fill(&own, 0);
	truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (truth == MAP_FAILED)
		return pr_perror("Can't map shared memory");
	if (!peer_fork(&child)) {
		sigaction(SIGTRAP, &action, NULL);
		model_fill(&area, 0);
		peer_tell(&child, 0);
		while (!truth->stop)
			trap();
		peer_tell(&child, 1);
		pause();
	}
	peer_await(&child, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&own, round);
		rounds_done();
	}

	round = rounds_last();
	truth->stop = 1;
	peer_await(&child, 1);
	wrong = truth->wrong + model_check(&own, 0, round);
	wrong += model_check_by(&area, child.pid, round, generation);
	test_msg("%u traps\n", truth->writes / WRITES);
	peer_end(&child);
	return model_verdict(wrong, round);
}
