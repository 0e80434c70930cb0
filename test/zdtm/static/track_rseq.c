// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restartable sequences: two threads count in slots of the CPU they run on, each step of which the kernel aborts if the
 * thread is stopped in the middle of it, as a freeze does. A step that is lost or done twice, or a page of slots
 * from an older round, breaks the balance with the steps that the threads know to have done.
 */
#include <pthread.h>

#include "track_model.h"
#include "track_rseq.h"

const char *test_doc = "threads in restartable sequences";
const char *test_author = "criu-pagescan";

#ifdef HAVE_SEQUENCES

#define THREADS 2
#define CPUS	64

static struct model own = { .name = "beside the counters", .id = 1, .pages = 1024 };
/* Private memory, a page for each CPU; and the balance, in shared memory, which is dumped whole each time. */
static unsigned char *slots;
static struct {
	uint64_t steps;
	uint64_t pad[63];
} * done;
static volatile bool enough;

/* Adds one to the slot of the CPU we are on. False if it was interrupted: nothing happened. */
static bool step(void)
{
	struct rseq *rs = sequence_self();
	uint32_t cpu = __atomic_load_n(&rs->cpu_id_start, __ATOMIC_RELAXED);
	uint64_t *slot = (uint64_t *)(slots + cpu % CPUS * PAGE_SIZE);

	asm goto(SEQUENCE_BEGIN
#ifdef __x86_64__
		 "cmpl %[cpu], %[cpu_id]\n"
		 "jnz 4f\n"
		 "incq %[slot]\n"
#else
		 "ldr w9, %[cpu_id]\n"
		 "cmp w9, %w[cpu]\n"
		 "b.ne 4f\n"
		 "ldr x9, %[slot]\n"
		 "add x9, x9, #1\n"
		 "str x9, %[slot]\n"
#endif
		 SEQUENCE_END
		 :
		 : SEQUENCE_OPERANDS(rs), [cpu_id] "m"(rs->cpu_id), [cpu] "r"(cpu), [slot] "m"(*slot)
		 : "memory", "cc", SCRATCH
		 : aborted);
	return true;
aborted:
	return false;
}

static void *count(void *arg)
{
	uint64_t *steps = arg;

	while (!enough) {
		while (!step())
			;
		++*steps;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	sigset_t all, before;
	uint64_t expected = 0, found = 0;
	unsigned int round;
	size_t wrong;

	test_init(argc, argv);
	rounds_init();
	if (!__rseq_size) {
		skip("a kernel and a C library with restartable sequences");
		return 77;
	}
	model_map_private(&own);
	model_fill(&own, 0);
	slots = mmap(NULL, CPUS * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	done = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (slots == MAP_FAILED || done == MAP_FAILED)
		return pr_perror("Can't map the counters");
	/* SIGTERM is for the main thread: it ends a read() that only a signal to the reader can end. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, count, &done[i].steps))
			return pr_perror("Can't start a thread");
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&own, round);
		rounds_done();
	}

	round = rounds_last();
	enough = true;
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		expected += done[i].steps;
	}
	for (size_t cpu = 0; cpu < CPUS; cpu++)
		found += *(uint64_t *)(slots + cpu * PAGE_SIZE);
	wrong = model_check(&own, 0, round);
	if (found != expected) {
		pr_err("The slots hold %llu steps, but %llu were done\n", (unsigned long long)found,
		       (unsigned long long)expected);
		wrong++;
	}
	return model_verdict(wrong, round);
}

#else

int main(int argc, char **argv)
{
	test_init(argc, argv);
	skip("a restartable sequence for this architecture, and <sys/rseq.h>");
	return 77;
}

#endif
