/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory of this process for tests to build at will, watched by a userfaultfd, and what it takes to look at it. */
#ifndef MEMORY_H
#define MEMORY_H

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "scan/snapshot.h"
#include "track/uffd.h"
#include "unit.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define PAGES	  3072UL
#define POPULATED (PAGESCAN_PRESENT | PAGESCAN_SWAPPED)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static struct pagescan_kernel kernel;
static uint64_t page;
static int proc_dir, pagemap, uffd, file;
static char *memory;

static inline char *page_at(size_t i)
{
	return memory + i * page;
}

/* What cannot be touched (guards, no permission) is left alone, without a signal. */
static inline void touch(char *addr, bool write)
{
	char byte = 1;
	struct iovec local = { &byte, 1 }, remote = { addr, 1 };

	if (write)
		(void)!process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
	else
		(void)!process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

/* As the tracker does at a reset, or with zero pages too: the kernel puts them where a protected page held zeros. */
static inline void protect(size_t first, size_t nr, bool is_file, bool zeros)
{
	const struct pagescan_query query = { .required = PAGESCAN_WRITTEN,
					      .anyof = POPULATED,
					      .excluded = (zeros ? 0 : PAGESCAN_PFNZERO) |
							  (is_file ? PAGESCAN_FILE : 0) |
							  (kernel.guard ? PAGESCAN_GUARD : 0) };

	assert_int_equal(
		pagescan_protect(pagemap, (uintptr_t)page_at(first), (uintptr_t)page_at(first + nr), &query, NULL), 0);
}

static inline void map(size_t first, size_t nr, int flags)
{
	assert_ptr_equal(mmap(page_at(first), nr * page, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
			      flags & MAP_ANONYMOUS ? -1 : file, (off_t)(first * page)),
			 page_at(first));
}

static inline void watch(size_t first, size_t nr)
{
	assert_int_equal(uffd_register(uffd, (uintptr_t)page_at(first), (uintptr_t)page_at(first + nr)), 0);
}

static inline struct area *area_of(struct snapshot *snapshot, const void *addr)
{
	return &snapshot->areas.v[areas_find(&snapshot->areas, (uintptr_t)addr)];
}

static inline void read_pagemap(uint64_t pme[PAGES])
{
	assert_int_equal(pread(pagemap, pme, PAGES * 8, (off_t)((uintptr_t)memory / page * 8)), PAGES * 8);
}

/* As CRIU asks (criu/pagemap-cache.c, pmc_fill); in words of its own, to be held against the product's. */
static inline struct pagescan_ioctl_arg question(size_t first, size_t end, struct pagescan_region *vec, size_t len)
{
	const uint64_t mask = PAGESCAN_PFNZERO | PAGESCAN_FILE;

	return (struct pagescan_ioctl_arg){ .size = sizeof(struct pagescan_ioctl_arg),
					    .start = (uintptr_t)page_at(first),
					    .end = (uintptr_t)page_at(end),
					    .vec = (uintptr_t)vec,
					    .vec_len = len,
					    .category_inverted = mask,
					    .category_mask = mask,
					    .category_anyof_mask = POPULATED,
					    .return_mask = POPULATED | PAGESCAN_SOFT_DIRTY |
							   (kernel.guard ? PAGESCAN_GUARD : 0) };
}

static inline int set_up(void **state)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC };

	(void)state;
	page = pagescan_page_size();
	pagescan_probe(&kernel);
	proc_dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	pagemap = open("/proc/self/pagemap", O_RDONLY);
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	file = (int)syscall(SYS_memfd_create, "test_snapshot", 0);
	memory = mmap(NULL, PAGES * page, PROT_NONE, ANONYMOUS, -1, 0);
	return memory == MAP_FAILED || ftruncate(file, (off_t)(PAGES * page)) || ioctl(uffd, UFFDIO_API, &api);
}

/* Each case begins with memory that is nothing yet. */
static inline int clear(void **state)
{
	(void)state;
	return mmap(memory, PAGES * page, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0) != memory;
}

#endif
