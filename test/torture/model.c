// SPDX-License-Identifier: GPL-2.0-only
/*
 * model.c - the model's file, what pages hold, and whether they do. Guards the first rule of the plugin: no page of a
 * restored process is of an older round, and no page of a running one is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torture.h"

#define ARENA_AT    (256ull << 30) /* far from what else is mapped, also where addresses have 39 bits */
#define ARENA_EVERY (1ull << 30)
#define STACK_AFTER (512ull << 20)

struct model *model;
size_t page_size;

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	_exit(2);
}

static void fill_file(int fd, uint64_t tag)
{
	uint8_t *mem = mmap(NULL, FILE_PAGES * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		die("map a file");
	for (unsigned int i = 0; i < FILE_PAGES; i++)
		page_fill(mem + i * page_size, tag);
	munmap(mem, FILE_PAGES * page_size);
}

static void must_be(int fd, int wanted)
{
	if (fd < 0 || (fd != wanted && dup2(fd, wanted) != wanted))
		die("open a file");
	if (fd != wanted)
		close(fd);
}

static void files_create(bool direct)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/model", directory);
	must_be(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), FD_MODEL);
	if (ftruncate(FD_MODEL, sizeof(struct model)))
		die(path);
	/* Not every file system has it. */
	fd = open(path, O_RDWR | (direct ? O_DIRECT : 0));
	must_be(fd < 0 ? dup(FD_MODEL) : fd, FD_DIRECT);
	snprintf(path, sizeof(path), "%s/data", directory);
	must_be(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), FD_FILE);
	must_be(memfd_create("torture", 0), FD_MEMFD);
	for (int i = FD_FILE; i <= FD_MEMFD; i++) {
		if (ftruncate(i, (off_t)(FILE_PAGES * page_size)))
			die("ftruncate");
		fill_file(i, i == FD_FILE ? TAG_FILE : TAG_MEMFD);
	}
}

void model_open(bool create, bool direct)
{
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	if (create)
		files_create(direct);
	model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE, MAP_SHARED, FD_MODEL, 0);
	if (model == MAP_FAILED)
		die("map the model");
}

static void __attribute__((format(printf, 1, 0))) tell(const char *format, va_list args)
{
	struct driver *driver = &model->driver;
	char line[512];
	uint32_t at;
	int len = vsnprintf(line, sizeof(line) - 1, format, args);

	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	at = __atomic_fetch_add(&driver->log_used, (uint32_t)len, __ATOMIC_SEQ_CST);
	if (at + (uint32_t)len <= sizeof(driver->log))
		memcpy(driver->log + at, line, (size_t)len);
}

static void __attribute__((format(printf, 1, 2))) remark(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tell(format, args);
	va_end(args);
}

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tell(format, args);
	va_end(args);
	__atomic_fetch_add(&model->driver.errors, 1, __ATOMIC_SEQ_CST);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

uint32_t draw(const struct self *me, uint32_t limit)
{
	uint64_t *state = &me->thread->random;

	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(mix(*state) >> 32) % limit;
}

uint64_t tag_new(void)
{
	uint64_t number = __atomic_add_fetch(&model->last_tag, 1, __ATOMIC_SEQ_CST);

	return (uint64_t)model->driver.round << ROUND_SHIFT | number;
}

/* The first word is the tag, for whoever looks into a dump; the others have nothing in common with other tags'. */
static uint64_t word(uint64_t tag, size_t i)
{
	if (!tag || !i)
		return tag;
	return mix(tag) + i * 0xd6e8feb86659fd93ull;
}

void page_fill(void *page, uint64_t tag)
{
	uint64_t *words = page;

	for (size_t i = 0; i < page_size / sizeof(*words); i++)
		words[i] = word(tag, i);
}

static bool page_holds(const uint64_t *words, uint64_t tag)
{
	for (size_t i = 0; i < page_size / sizeof(*words); i++) {
		if (words[i] != word(tag, i))
			return false;
	}
	return true;
}

static uint8_t *arena_addr(int number)
{
	return (uint8_t *)(ARENA_AT + (uint64_t)number * ARENA_EVERY);
}

uint8_t *page_addr(const struct self *me, unsigned int page)
{
	uint8_t *arena = arena_addr(me->number);

	if (page < ARENA)
		return arena + page * page_size;
	if (page < ARENA + STACK)
		return arena + STACK_AFTER + (page - ARENA) * page_size;
	return (uint8_t *)me->process->heap + (page - ARENA - STACK) * page_size;
}

void areas_unmap(int number)
{
	if (munmap(arena_addr(number), ARENA_EVERY))
		complain("munmap: %s", strerror(errno));
}

static const char *operation_name(unsigned int operation)
{
	static const char *const names[] = {
#define OP(name, weight) #name,
		ALL_OPERATIONS(OP)
#undef OP
	};

	return operation < OPERATIONS ? names[operation] : "none";
}

static bool is_to(const struct deed *deed, unsigned int page)
{
	return page - deed->first < deed->nr || page - deed->to < deed->nr || deed->operation == OP_spawn_process;
}

/* What the thread did lately to a page, and what its forebears had done before they forked it. */
static void remark_deeds(const struct self *me, unsigned int page)
{
	for (uint64_t i = 0; i < RECENT; i++) {
		const struct deed *deed = &me->thread->deeds[(me->thread->steps + i) % RECENT];

		if (is_to(deed, page))
			remark("    step %llu: %s, %u pages from %u to %u, advice %u%s", (unsigned long long)deed->step,
			       operation_name(deed->operation), deed->nr, deed->first, deed->to, deed->advice,
			       deed->done ? "" : ", not done");
	}
}

static uint64_t read_u64(const char *path, uint64_t index)
{
	uint64_t value = ~0ull;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && pread(fd, &value, sizeof(value), (off_t)(index * sizeof(value))) != sizeof(value))
		value = ~0ull;
	if (fd >= 0)
		close(fd);
	return value;
}

/* The kernel's view of a page, and whether it holds the right thing by now. ~0: not known. */
static void remark_state(const struct self *me, unsigned int page, const uint64_t *words)
{
	uint64_t entry = read_u64("/proc/self/pagemap", (uintptr_t)page_addr(me, page) / page_size);
	uint64_t frame = entry & ((1ull << 55) - 1);

	remark("    %s; pagemap %#llx, kpageflags %#llx, kpagecount %llu; read again: first word %#llx",
	       page_holds(words, 0) ? "zeros" : "not zeros", (unsigned long long)entry,
	       (unsigned long long)read_u64("/proc/kpageflags", frame),
	       (unsigned long long)read_u64("/proc/kpagecount", frame),
	       (unsigned long long)read_u64("/proc/self/mem", (uintptr_t)page_addr(me, page) / sizeof(uint64_t)));
}

static void wrong(const struct self *me, struct page *page, const char *what, const uint64_t *words)
{
	unsigned int i = (unsigned int)(page - me->thread->pages);
	unsigned int good = 0;

	for (size_t w = 0; w < page_size / sizeof(*words); w++)
		good += words[w] == word(page->want & ~TAG_OR_ZERO, w);
	complain("process %d (pid %d) thread %d, page %u at %p, %s: must hold %#llx of round %u%s, holds %#llx of "
		 "round %u "
		 "(%u words are right); kind %u, prot %u, flags %u, last changed by %s",
		 (int)(me->process - model->processes), me->process->pid, me->number, i, (void *)page_addr(me, i), what,
		 (unsigned long long)page->want, (unsigned int)(page->want >> ROUND_SHIFT & 0xfffff),
		 page->want & TAG_OR_ZERO ? " or zeros" : "", (unsigned long long)words[0],
		 (unsigned int)(words[0] >> ROUND_SHIFT & 0xfffff), good, page->kind, page->prot, page->flags,
		 operation_name(page->by));
	remark_state(me, i, words);
	remark_deeds(me, i);
	page->want = words[0]; /* told once */
}

/* Read by the kernel, so that a page that is not there kills nobody and protections do not matter. */
void verify(const struct self *me)
{
	uint64_t words[page_size / sizeof(uint64_t)];
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	if (mem < 0) {
		complain("cannot open /proc/self/mem: %s", strerror(errno));
		return;
	}
	for (unsigned int i = 0; i < PAGES; i++) {
		struct page *page = &me->thread->pages[i];
		bool mapped = page->kind != NOTHING && !(page->flags & GUARD);
		bool got;

		/* The heap is the first thread's. A look below a stack makes it grow. */
		if (i >= ARENA + STACK ? me->number : i >= ARENA && !mapped)
			continue;
		memset(words, 0xff, page_size);
		got = pread(mem, words, page_size, (off_t)(uintptr_t)page_addr(me, i)) == (ssize_t)page_size;
		if (got != mapped)
			wrong(me, page, got ? "is there, but must not be" : "cannot be read", words);
		else if (got && !page_holds(words, page->want & ~TAG_OR_ZERO) &&
			 !(page->want & TAG_OR_ZERO && page_holds(words, 0)))
			wrong(me, page, "is wrong", words);
	}
	close(mem);
}

void model_report(void)
{
	struct driver *driver = &model->driver;
	char path[4096];
	FILE *out;

	snprintf(path, sizeof(path), "%s/report", directory);
	out = fopen(path, "w");
	if (!out)
		die(path);
	fprintf(out, "%s %llu operations, %u errors\n", driver->errors ? "FAIL" : "PASS",
		(unsigned long long)driver->steps, driver->errors);
	for (unsigned int i = 0; i < OPERATIONS; i++)
		fprintf(out, "%-20s %9u done %9u not\n", operation_name(i), model->operations[i].done,
			model->operations[i].failed);
	fclose(out);
}
