// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tree of tasks that all write into their copies of the same memory: children from before the first round, forked
 * between rounds, forked by children, and gone again before the dump.
 */
#include <sys/wait.h>

#include "track.h"

const char *test_doc = "Parents and children write into their copies of the same pages, between rounds";
const char *test_author = "criu-pagescan";

enum { PAGES = 512, WRITES = 40, MAX_CHILDREN = 16 };
enum { WRITE = 'w', FORK = 'f', QUIT = 'q', GOOD = 'g', BAD = 'b' };

/* The root task's strings to each child. All exist before the first fork, so that every task can be given one. */
static struct child {
	int command[2], answer[2];
	bool there;
} children[MAX_CHILDREN];

static unsigned int nr_children;
static struct pages mem;
static uint32_t seed = 3;

static void send_byte(int fd, char byte)
{
	if (write(fd, &byte, 1) != 1)
		exit(pr_perror("pipe"));
}

static char receive_byte(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		exit(pr_perror("pipe"));
	return byte;
}

static void fork_child(unsigned int number);

static int serve(struct child *self)
{
	int bad;

	for (;;) {
		switch (receive_byte(self->command[0])) {
		case WRITE:
			pages_write_random(&mem, WRITES, &seed);
			break;
		case FORK:
			fork_child(receive_byte(self->command[0]));
			break;
		case QUIT:
			while (wait(NULL) > 0)
				;
			bad = pages_verify(&mem, "a child's copy");
			send_byte(self->answer[1], bad ? BAD : GOOD);
			return bad;
		}
		send_byte(self->answer[1], GOOD);
	}
}

static void fork_child(unsigned int number)
{
	struct pages copy = pages_fork(&mem);
	pid_t pid = test_fork();

	if (pid < 0)
		exit(pr_perror("fork"));
	if (pid)
		return;
	mem = copy;
	seed += number;
	_exit(!!serve(&children[number]));
}

static char tell(struct child *c, char command)
{
	send_byte(c->command[1], command);
	return receive_byte(c->answer[0]);
}

static void new_child(struct child *parent)
{
	unsigned int number = nr_children;

	if (number == MAX_CHILDREN)
		return;
	if (parent) {
		send_byte(parent->command[1], FORK);
		tell(parent, number);
	} else {
		fork_child(number);
	}
	children[number].there = true;
	nr_children++;
}

static bool quit(struct child *c)
{
	c->there = false;
	return tell(c, QUIT) == GOOD;
}

static void act(unsigned int round)
{
	pages_write_random(&mem, WRITES, &seed);
	/* The second child, so that the first has lived through all rounds. */
	if (round == 2 && (!quit(&children[1]) || wait(NULL) < 0))
		exit(pr_perror("the child that leaves"));
	for (unsigned int i = 0; i < nr_children; i++)
		if (children[i].there)
			tell(&children[i], WRITE);
	new_child(round % 2 ? &children[0] : NULL);
	pages_write_random(&mem, WRITES, &seed);
	tell(&children[nr_children - 1], WRITE);
}

int main(int argc, char **argv)
{
	bool good = true;

	test_init(argc, argv);
	model_init();
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (pipe(children[i].command) || pipe(children[i].answer))
			return pr_perror("pipe");
	mem = pages_map(PAGES);
	pages_write(&mem);
	new_child(NULL);
	tell(&children[0], WRITE);
	pages_write_random(&mem, WRITES, &seed);

	test_daemon();
	between_rounds(act);

	/* Children's children first: their parents wait for them. */
	for (unsigned int i = nr_children; i--;)
		if (children[i].there)
			good &= quit(&children[i]);
	while (wait(NULL) > 0)
		;
	if (pages_verify(&mem, "the root task's copy") || !good)
		return 1;
	pass();
	return 0;
}
