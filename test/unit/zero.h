/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory that is read and was never written is the zero page, on most kernels: some machines' do without it. */
#ifndef ZERO_H
#define ZERO_H

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pagescan.h"
#include "unit.h"

static inline bool reading_maps_the_zero_page(void)
{
	const struct pagescan_query zero = { .required = PAGESCAN_PFNZERO };
	const uint64_t size = pagescan_page_size();
	char *zeros = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pagescan_regions found = { 0 };
	bool is_zero;

	assert_true(zeros != MAP_FAILED && fd >= 0);
	(void)*(volatile char *)zeros;
	assert_int_equal(pagescan_walk(fd, (uintptr_t)zeros, (uintptr_t)zeros + size, &zero, &found), 0);
	is_zero = found.nr;
	pagescan_regions_fini(&found);
	close(fd);
	munmap(zeros, size);
	return is_zero;
}

static inline void needs_the_zero_page(void)
{
	if (!reading_maps_the_zero_page()) {
		print_message("# this kernel maps no zero page\n");
		skip();
	}
}

#endif
