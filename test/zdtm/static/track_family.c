// SPDX-License-Identifier: GPL-2.0-only
/*
 * Three generations, some fifty tasks: each has its copy of the memory that its parent had when it was born, writes into
 * that now and then, and has a page of the memory that all of them share. Parents have threads, and now and then they end
 * a child and make another one; one child of each becomes another program. Between rounds a whole branch ends and
 * another one takes its place.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "track.h"

const char *test_doc = "A tree of three generations, whose tasks come and go, with threads and shared memory";
const char *test_author = "criu-pagescan";

enum { PARENTS = 5, CHILDREN = 9, THREADS = 2, PAGES = 64, STILL = 512, PAUSE_US = 40000, TURNS = 3 };
enum { OUTSIDER = 0, TASKS = 1 + PARENTS * (1 + CHILDREN) };

/* One of the second generation, and all that is below it. */
struct branch {
	unsigned int number;
	struct pages mem, threads[THREADS], children[CHILDREN];
	pid_t pids[CHILDREN];
};

static struct branch branches[PARENTS];
static struct pages mem, common, still;
static uint32_t seed = 5;
static pid_t parents[PARENTS];

/* Which page of the common memory is whose. The root has the first one. */
static unsigned int place_of(const struct branch *b, unsigned int child)
{
	return 1 + b->number * (1 + CHILDREN) + child;
}

static void *thread(void *arg)
{
	struct pages *own = arg;
	uint32_t draw = own->id;

	while (test_go()) {
		pages_write_random(own, 1, &draw);
		usleep(PAUSE_US);
	}
	return NULL;
}

/* The program that a child becomes: its expectations are those of the child, of memory that is new. */
static int outsider(unsigned int id, unsigned int nr)
{
	const struct timespec pause = { .tv_nsec = PAUSE_US * 1000 };
	struct pages own;
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	model_open(0);
	own = (struct pages){ .mem = map_anon(nr, 0), .nr = nr, .id = id, .expected = model->expected + id };
	pages_expect(&own, EXPECT_ZERO);
	seed = id;
	while (sigtimedwait(&term, NULL, &pause) < 0)
		pages_write_random(&own, 1, &seed);
	return pages_verify(&own, "a child's that became another program") ? 1 : 0;
}

static void become_outsider(const struct pages *own)
{
	char id[16];

	ssprintf(id, "%u", (unsigned int)(own->expected - model->expected));
	execl("/proc/self/exe", "track_family", "--outsider", id, NULL);
	exit(pr_perror("exec"));
}

static int child_life(struct branch *b, unsigned int number)
{
	struct pages *own = &b->children[number];

	if (number == OUTSIDER)
		become_outsider(own);
	seed = own->expected - model->expected;
	while (test_go()) {
		pages_write_random(own, 1, &seed);
		page_write(&common, place_of(b, 1 + number));
		usleep(PAUSE_US);
	}
	return pages_verify(own, "a child's copy") || pages_verify(&still, "what nobody writes, in a child") ? 1 : 0;
}

/* A signal that comes before it has become another program is that program's. */
static void child_begin(struct branch *b, unsigned int number)
{
	sigset_t term, before;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(number == OUTSIDER ? SIG_BLOCK : SIG_UNBLOCK, &term, &before);
	memcpy(b->children[number].expected, b->mem.expected, PAGES * sizeof(*mem.expected));
	b->pids[number] = test_fork();
	if (b->pids[number] < 0)
		exit(pr_perror("fork"));
	if (!b->pids[number])
		_exit(child_life(b, number));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGTERM);
	if (waitpid(pid, &status, 0) != pid || status)
		exit(fail("the end of a task: %#x", status));
}

static int parent_life(struct branch *b)
{
	pthread_t threads[THREADS];

	seed = 100 + b->number;
	for (int i = 0; i < CHILDREN; i++)
		child_begin(b, i);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, &b->threads[i]))
			exit(pr_perror("thread"));
	for (unsigned int turn = 0; test_go(); turn++) {
		const unsigned int number = turn / TURNS % CHILDREN;

		pages_write_random(&b->mem, 1, &seed);
		page_write(&common, place_of(b, 0));
		usleep(PAUSE_US);
		if (turn % TURNS)
			continue;
		end(b->pids[number]);
		child_begin(b, number);
	}
	for (int i = 0; i < THREADS; i++)
		if (pthread_join(threads[i], NULL) || pages_verify(&b->threads[i], "a thread's"))
			return 1;
	for (int i = 0; i < CHILDREN; i++)
		end(b->pids[i]);
	return pages_verify(&b->mem, "a parent's copy") ? 1 : 0;
}

static void branch_begin(struct branch *b)
{
	memcpy(b->mem.expected, mem.expected, PAGES * sizeof(*mem.expected));
	for (int i = 0; i < THREADS; i++)
		pages_expect(&b->threads[i], EXPECT_ZERO);
	parents[b->number] = test_fork();
	if (parents[b->number] < 0)
		exit(pr_perror("fork"));
	if (!parents[b->number])
		_exit(parent_life(b));
}

static void act(unsigned int round)
{
	struct branch *b = &branches[round % PARENTS];

	pages_write_random(&mem, PAGES / 8, &seed);
	page_write(&common, 0);
	end(parents[b->number]);
	branch_begin(b);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--outsider"))
		return outsider(atoi(argv[2]), PAGES);

	test_init(argc, argv);
	model_init();
	mem = pages_map(PAGES);
	still = pages_map(STILL);
	common = pages_model(mmap(NULL, TASKS * page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
			     TASKS);
	if (common.mem == MAP_FAILED)
		exit(pr_perror("mmap"));
	pages_write(&mem);
	pages_write(&still);
	for (int i = 0; i < PARENTS; i++) {
		branches[i].number = i;
		branches[i].mem = pages_fork(&mem);
		for (int j = 0; j < THREADS; j++)
			branches[i].threads[j] = pages_map(PAGES);
		for (int j = 0; j < CHILDREN; j++)
			branches[i].children[j] = pages_fork(&mem);
	}
	for (int i = 0; i < PARENTS; i++)
		branch_begin(&branches[i]);

	test_daemon();
	between_rounds(act);

	for (int i = 0; i < PARENTS; i++)
		end(parents[i]);
	if (pages_verify(&mem, "the root's") || pages_verify(&still, "what nobody writes") ||
	    pages_verify(&common, "what all share"))
		return 1;
	pass();
	return 0;
}
