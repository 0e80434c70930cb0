// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe.c - find out what the running kernel offers by trying it on ourselves. Calls the kernel only.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uapi.h"

static int probe_scan(uint64_t returned)
{
	struct pagescan_ioctl_arg arg = { .size = sizeof(arg), .return_mask = returned };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, PAGESCAN_IOCTL, &arg) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Register an area that has no page table of its own yet, and ask what is written in it. */
static bool probe_holes_written(int uffd)
{
	const size_t size = 4UL << 20;
	struct pagescan_region region = { 0 };
	struct uffdio_register reg = { .range.len = size, .mode = UFFDIO_REGISTER_MODE_WP };
	struct pagescan_ioctl_arg arg = { .size = sizeof(arg),
					  .vec = (uintptr_t)&region,
					  .vec_len = 1,
					  .category_mask = PAGESCAN_WRITTEN,
					  .return_mask = PAGESCAN_WRITTEN };
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool written = false;

	reg.range.start = arg.start = (uintptr_t)area;
	arg.end = arg.start + size;
	if (fd >= 0 && area != MAP_FAILED && !ioctl(uffd, UFFDIO_REGISTER, &reg))
		written = ioctl(fd, PAGESCAN_IOCTL, &arg) == 1 && region.start == arg.start && region.end == arg.end;
	if (area != MAP_FAILED)
		munmap(area, size);
	if (fd >= 0)
		close(fd);
	return written;
}

static int probe_wp_async(bool *holes_written)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		err = -errno;
	*holes_written = !err && probe_holes_written(fd);
	close(fd);
	return err;
}

/* Clear our own soft-dirty bits, write to a page, look whether it is marked: what CRIU does at start. */
static int probe_soft_dirty(void)
{
	uint64_t pme = 0;
	volatile char *page;
	int refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int err = 0;

	page = mmap(NULL, pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (refs < 0 || map < 0 || page == MAP_FAILED || write(refs, "4", 1) < 0) {
		err = -errno;
	} else {
		page[0] = 1;
		if (pread(map, &pme, sizeof(pme), (off_t)((uintptr_t)page / pagescan_page_size() * 8)) < 0)
			err = -errno;
		else if (!(pme & PME_SOFT_DIRTY))
			err = -EOPNOTSUPP;
	}
	if (page != MAP_FAILED)
		munmap((void *)page, pagescan_page_size());
	if (map >= 0)
		close(map);
	if (refs >= 0)
		close(refs);
	return err;
}

void pagescan_probe(struct pagescan_kernel *kernel)
{
	kernel->scan_error = probe_scan(PAGESCAN_PRESENT);
	kernel->scan = !kernel->scan_error;
	kernel->guard = kernel->scan && !probe_scan(PAGESCAN_GUARD);
	kernel->wp_async_error = probe_wp_async(&kernel->holes_written);
	kernel->wp_async = !kernel->wp_async_error;
	kernel->soft_dirty_error = probe_soft_dirty();
	kernel->soft_dirty = !kernel->soft_dirty_error;
}
