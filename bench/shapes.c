// SPDX-License-Identifier: GPL-2.0-only
/*
 * shapes.c - the process that has the memory: makes it in one of several shapes, and writes to it when it is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pages.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define HUGE_PAGE (2UL << 20)
#define TIB	  (1UL << 40)

/* Page number i lies in group i / @group; groups begin @pitch bytes apart. */
struct memory {
	char *base;
	uint64_t pages;
	uint64_t group;
	uint64_t pitch;
};

static char *page_at(const struct memory *memory, uint64_t i)
{
	return memory->base + i / memory->group * memory->pitch + i % memory->group * PAGE;
}

static void fill(const struct memory *memory)
{
	for (uint64_t i = 0; i < memory->pages; i++)
		*(volatile uint64_t *)page_at(memory, i) = i + 1;
}

static struct memory make_flat(uint64_t mib, int advice)
{
	struct memory memory = { .pages = mib * 256, .group = mib * 256 };
	uintptr_t area = (uintptr_t)map(mib * HUGE_PAGE / 2 + HUGE_PAGE, MAP_ANONYMOUS, -1);

	memory.base = (char *)((area + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	madvise(memory.base, memory.pages * PAGE, advice);
	fill(&memory);
	return memory;
}

static struct memory make_dense(uint64_t mib)
{
	return make_flat(mib, MADV_NOHUGEPAGE);
}

static struct memory make_thp(uint64_t mib)
{
	return make_flat(mib, MADV_HUGEPAGE);
}

/* As a garbage collector's heap: the pages lie at the beginning of an area four times as large. */
static struct memory make_heap(uint64_t mib)
{
	struct memory memory = { .pages = mib * 256, .group = mib * 256 };

	memory.base = map(mib << 22, MAP_ANONYMOUS | MAP_NORESERVE, -1);
	madvise(memory.base, mib << 22, MADV_NOHUGEPAGE);
	fill(&memory);
	return memory;
}

/* The kernel may leave pages in memory; the parent tells how many are out. */
static struct memory make_swap(uint64_t mib)
{
	struct memory memory = make_dense(mib);

	if (madvise(memory.base, memory.pages * PAGE, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
	return memory;
}

/* All of the file is in memory, every other MiB of it as pages of the process's own. */
static struct memory make_file(uint64_t mib)
{
	struct memory memory = { .pages = mib * 128, .group = 256, .pitch = 512 * PAGE };
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(mib << 20)))
		die("a file in the current directory");
	memory.base = map(mib << 20, 0, fd);
	close(fd);
	for (uint64_t at = 0; at < mib << 20; at += PAGE)
		(void)*(volatile char *)(memory.base + at);
	fill(&memory);
	return memory;
}

static struct memory make_tib(uint64_t pitch)
{
	struct memory memory = { .pages = 1000, .group = 1, .pitch = pitch };

	memory.base = map(TIB, MAP_ANONYMOUS | MAP_NORESERVE, -1);
	madvise(memory.base, TIB, MADV_NOHUGEPAGE);
	fill(&memory);
	return memory;
}

/* Each page has a page table of its own; ... */
static struct memory make_near(uint64_t mib)
{
	(void)mib;
	return make_tib(HUGE_PAGE);
}

/* ... and a directory of page tables too, the worst there is: half a million empty entries to walk. */
static struct memory make_far(uint64_t mib)
{
	(void)mib;
	return make_tib(TIB / 1000 / PAGE * PAGE);
}

/* 10,000 areas of 64 KiB, a page without a mapping between each two. */
static struct memory make_areas(uint64_t mib)
{
	struct memory memory = { .pages = 160000, .group = 16, .pitch = 17 * PAGE };

	(void)mib;
	memory.base = map(memory.pages / memory.group * memory.pitch, MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (uint64_t i = 0; i < memory.pages; i += memory.group)
		munmap(page_at(&memory, i) + memory.group * PAGE, PAGE);
	fill(&memory);
	return memory;
}

static const struct shape {
	const char *name;
	struct memory (*make)(uint64_t mib);
} shapes[] = {
	{ "dense", make_dense }, { "heap", make_heap }, { "thp", make_thp },	 { "file", make_file },
	{ "near", make_near },	 { "far", make_far },	{ "areas", make_areas }, { "swap", make_swap },
};

/* Maps [0, 2^bits) onto itself in an order that looks random. */
static uint64_t scramble(uint64_t i, unsigned int bits)
{
	const uint64_t mask = (1UL << bits) - 1;

	for (int round = 0; round < 3; round++) {
		i = (i * 0x9e3779b97f4a7c15UL + 0x7f4a7c15UL) & mask;
		i ^= i >> (bits / 2 + 1);
	}
	return i;
}

/* Write to @count pages in runs of @run: the same ones each time. */
static void write_pages(const struct memory *memory, uint64_t count, uint64_t run)
{
	const uint64_t slots = memory->pages / run;
	unsigned int bits = 1;
	uint64_t left = count / run;

	while (1UL << bits < slots)
		bits++;
	for (uint64_t i = 0; left && i < 1UL << bits; i++) {
		uint64_t slot = scramble(i, bits);

		if (slot >= slots)
			continue;
		for (uint64_t page = slot * run; page < (slot + 1) * run; page++)
			++*(volatile uint64_t *)page_at(memory, page);
		left--;
	}
}

void serve(const struct shape *shape, uint64_t mib, int in, int out)
{
	const struct memory memory = shape->make(mib);
	struct request request;

	while (read(in, &request, sizeof(request)) == sizeof(request)) {
		int64_t reply = (int64_t)memory.pages;

		if (request.op == WRITE) {
			write_pages(&memory, request.a, request.b);
		} else if (request.op == SYSCALL) {
			reply = syscall((long)request.a, request.b, 0, 0, 0, 0, 0);
			reply = reply < 0 ? -errno : reply;
		}
		if (write(out, &reply, sizeof(reply)) != sizeof(reply))
			return;
	}
}

const struct shape *find_shape(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		if (!strcmp(shapes[i].name, name))
			return &shapes[i];
	}
	return NULL;
}
