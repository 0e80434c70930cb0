// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory written from outside: by process_vm_writev(2), through /proc/PID/mem and by ptrace (POKEDATA), into an area
 * that the task could write itself, and with force into areas that it could not: read-only anonymous memory, a
 * read-only private mapping of a file, and memory without any access. One writer is a child that is dumped
 * with the task, the other is born and gone within each round.
 */
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "track_model.h"

const char *test_doc = "tracked memory written by other processes";
const char *test_author = "criu-pagescan";

static struct model areas[] = {
	{ .name = "writable", .id = 1, .pages = 1024 },
	{ .name = "read-only", .id = 2, .pages = 512 },
	{ .name = "read-only file", .id = 3, .pages = 256 },
	{ .name = "no access", .id = 4, .pages = 128 },
};
enum { WRITABLE, READ_ONLY, READ_ONLY_FILE, NO_ACCESS };

static unsigned char content[MODEL_PAGE_MAX] __attribute__((aligned(8)));

static bool by_vm_writev(pid_t pid, void *to, int mem)
{
	struct iovec from = { content, PAGE_SIZE }, there = { to, PAGE_SIZE };

	(void)mem;
	return process_vm_writev(pid, &from, 1, &there, 1, 0) == (ssize_t)PAGE_SIZE;
}

static bool by_mem(pid_t pid, void *to, int mem)
{
	(void)pid;
	return pwrite(mem, content, PAGE_SIZE, (uintptr_t)to) == (ssize_t)PAGE_SIZE;
}

/* Of a page: word by word, a larger one would take too long as a whole. */
#define POKED 4096

static bool by_poke(pid_t pid, void *to, int mem)
{
	size_t at;
	long word;

	for (at = 0; at < POKED; at += sizeof(word)) {
		memcpy(&word, content + at, sizeof(word));
		if (ptrace(PTRACE_POKEDATA, pid, (char *)to + at, word))
			return false;
	}
	return at == PAGE_SIZE || pwrite(mem, content + at, PAGE_SIZE - at, (uintptr_t)to + at) > 0;
}

static bool (*const ways[])(pid_t pid, void *to, int mem) = { by_vm_writev, by_mem, by_poke };

/* Half of the pages of each area are each writer's. False with errno if it can't. */
static bool write_areas(pid_t pid, unsigned int round, size_t half)
{
	int mem = model_open_mem(pid, O_RDWR);

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, NULL, __WALL) != pid)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		const struct model *m = &areas[i];
		/* process_vm_writev() can't force its way. */
		size_t first_way = i == WRITABLE ? 0 : 1;

		for (size_t page = half; page < m->pages; page += 2) {
			size_t way = first_way + page / 2 % (ARRAY_SIZE(ways) - first_way);

			if (!model_hit(m, page, round))
				continue;
			model_make(m, page, round, content);
			if (!ways[way](pid, model_addr(m, page), mem))
				return false;
		}
	}
	close(mem);
	return !ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void serve(const struct peer *p, pid_t pid)
{
	unsigned int round = 0;

	while (peer_tell(p, round) && peer_hear(p, &round)) {
		if (!write_areas(pid, round, 0)) {
			pr_perror("The child can't write");
			break;
		}
	}
	_exit(0);
}

static void write_by_passer(unsigned int round)
{
	pid_t target = getpid(), pid = test_fork();
	int status;

	if (!pid)
		_exit(write_areas(target, round, 1) ? 0 : pr_perror("The passing child can't write"));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		exit(pr_perror("The passing child failed"));
}

static void map_all(void)
{
	struct model *file = &areas[READ_ONLY_FILE];
	int fd = memfd_create("track_foreign_write", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, file->pages * PAGE_SIZE))
		exit(pr_perror("Can't make a memfd"));
	for (size_t page = 0; page < file->pages; page++) {
		model_make(file, page, 0, content);
		if (pwrite(fd, content, PAGE_SIZE, page * PAGE_SIZE) != (ssize_t)PAGE_SIZE)
			exit(pr_perror("Can't fill the memfd"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		if (i == READ_ONLY_FILE) {
			model_map(&areas[i], PROT_READ, MAP_PRIVATE, fd);
			continue;
		}
		model_map_private(&areas[i]);
		model_fill(&areas[i], 0);
	}
	if (mprotect(areas[READ_ONLY].mem, areas[READ_ONLY].pages * PAGE_SIZE, PROT_READ) ||
	    mprotect(areas[NO_ACCESS].mem, areas[NO_ACCESS].pages * PAGE_SIZE, PROT_NONE))
		exit(pr_perror("Can't protect"));
}

int main(int argc, char **argv)
{
	pid_t self = 0;
	struct peer writer;
	unsigned int round;
	size_t wrong = 0;

	test_init(argc, argv);
	rounds_init();
	map_all();
	self = getpid();
	if (!peer_fork(&writer))
		serve(&writer, self);
	peer_await(&writer, 0);

	test_daemon();
	while (rounds_next(&round)) {
		peer_ask(&writer, round);
		write_by_passer(round);
		rounds_done();
	}

	round = rounds_last();
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
		wrong += model_check(&areas[i], i == NO_ACCESS ? self : 0, round);
	peer_end(&writer);
	return model_verdict(wrong, round);
}
