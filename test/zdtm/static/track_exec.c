// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task that execs between rounds: its pid, its start time and the addresses it uses stay, its memory is another. The
 * new program maps its areas where the old one had them. One holds other bytes; the other is written by every
 * second program only, and must be zero in those that did not write it.
 */
#include "track_model.h"

const char *test_doc = "exec between rounds";
const char *test_author = "criu-pagescan";

/* Free in every new program, on every architecture: far from where programs, libraries and stacks are put. */
#define AREA_ADDRESS ((unsigned char *)0x4000000000)
#define AREA_PAGES   512

static struct model own = { .name = "the parent's", .id = 1, .pages = 2048 };
static struct model area = { .name = "of the program", .pages = AREA_PAGES, .mem = AREA_ADDRESS };
static struct model rarely = { .name = "of every second program", .pages = AREA_PAGES };

/* Programs are numbered; a new one comes with each odd round. */
static unsigned int program_of(unsigned int round)
{
	return (round + 1) / 2;
}

static bool writes_rarely(unsigned int program)
{
	return program % 2 == 0;
}

static void place(unsigned int program)
{
	area.id = 16 + 2 * program;
	rarely.id = area.id + 1;
	rarely.mem = AREA_ADDRESS + 2 * AREA_PAGES * PAGE_SIZE;
}

static void run_program(struct peer *p, unsigned int round)
{
	unsigned int program = program_of(round);
	char rx[16], tx[16], now[16];

	place(program);
	model_map(&area, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED_NOREPLACE, -1);
	model_map(&rarely, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED_NOREPLACE, -1);
	model_fill(&area, round);
	if (writes_rarely(program))
		model_fill(&rarely, round);
	while (peer_tell(p, round) && peer_hear(p, &round)) {
		if (program_of(round) != program) {
			ssprintf(rx, "%d", p->rx);
			ssprintf(tx, "%d", p->tx);
			ssprintf(now, "%u", round);
			execl("/proc/self/exe", "track_exec", "--program", rx, tx, now, NULL);
			pr_perror("Can't exec");
			break;
		}
		model_write(&area, round);
		if (writes_rarely(program))
			model_write(&rarely, round);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct peer child;
	unsigned int round;
	size_t wrong = 0;

	if (argc == 5 && !strcmp(argv[1], "--program")) {
		child = (struct peer){ .rx = atoi(argv[2]), .tx = atoi(argv[3]) };
		run_program(&child, atoi(argv[4]));
	}

	test_init(argc, argv);
	rounds_init();
	if (!peer_fork(&child))
		run_program(&child, 0);
	peer_await(&child, 0);
	model_map_private(&own);
	model_fill(&own, 0);

	test_daemon();
	while (rounds_next(&round)) {
		model_write(&own, round);
		peer_ask(&child, round);
		rounds_done();
	}

	round = rounds_last();
	place(program_of(round));
	wrong += model_check(&own, 0, round);
	wrong += model_check(&area, child.pid, round);
	if (writes_rarely(program_of(round)))
		wrong += model_check(&rarely, child.pid, round);
	else
		wrong += model_check_by(&rarely, child.pid, round, model_zero);
	peer_end(&child);
	return model_verdict(wrong, round);
}
