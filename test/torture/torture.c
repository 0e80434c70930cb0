// SPDX-License-Identifier: GPL-2.0-only
/*
 * torture.c - `torture DIRECTORY SEED THREADS [guards] [buffered]`: processes and threads that do random things to their memory
 * and know what it must hold. test/torture/run takes them through CRIU meanwhile and reads DIRECTORY/model (torture.h).
 *
 * SIGUSR1: verify everything, driver.verified tells when that is done. SIGTERM: stop, verify everything, write
 * DIRECTORY/report; the exit status is the verdict. `torture DIRECTORY PROCESS` is what a process becomes by its exec.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture.h"

const char *program, *directory;

static void on_signal(int signo)
{
	if (signo == SIGTERM)
		model->driver.stop = 1;
	else
		__atomic_fetch_add(&model->driver.verify, 1, __ATOMIC_SEQ_CST);
}

static unsigned int huge_pages(void)
{
	FILE *in = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "r");
	unsigned long size = 0;

	if (!in)
		return 0;
	if (fscanf(in, "%lu", &size) != 1)
		size = 0;
	fclose(in);
	return size / page_size <= ARENA / 2 ? (unsigned int)(size / page_size) : 0;
}

static int root(uint64_t seed, int threads, bool guards)
{
	struct process *process = &model->processes[0];
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	model->seed = seed;
	model->guards = guards;
	model->huge = huge_pages();
	process->state = LIVING;
	process->threads[0].random = seed;
	process_begin(process);
	for (int i = 1; i < threads; i++)
		thread_start(process, i, true);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	live(process);
	model_report();
	return model->driver.errors != 0;
}

static bool has_word(int argc, char **argv, const char *word)
{
	for (int i = 4; i < argc; i++) {
		if (!strcmp(argv[i], word))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	/* The program break belongs to the heap operations. */
	mallopt(M_MMAP_THRESHOLD, 0);
	if (argc < 3) {
		fprintf(stderr, "usage: torture DIRECTORY SEED THREADS [guards] [buffered]\n");
		return 2;
	}
	program = argv[0];
	directory = argv[1];
	model_open(argc > 3, !has_word(argc, argv, "buffered"));
	if (argc > 3)
		return root(strtoull(argv[2], NULL, 0), atoi(argv[3]), has_word(argc, argv, "guards"));
	process_begin(&model->processes[atoi(argv[2])]);
	live(&model->processes[atoi(argv[2])]);
	return 0;
}
