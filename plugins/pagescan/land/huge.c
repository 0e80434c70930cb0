// SPDX-License-Identifier: GPL-2.0-only
/*
 * huge.c - huge pages where the kernel would give small ones, and back. Calls scan, the kernel.
 *
 * An area that is advised to have huge pages (MADV_HUGEPAGE) stays so: there is no advice that takes it back. So they are
 * made in a piece of memory of our own that is, and moved from there by UFFDIO_MOVE, which moves a huge page whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <pagescan.h>

#include "huge.h"

/* include/uapi/linux/userfaultfd.h, 6.8 */
#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE (1ULL << 16)
struct uffdio_move {
	uint64_t dst;
	uint64_t src;
	uint64_t len;
	uint64_t mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif

#define THP   "/sys/kernel/mm/transparent_hugepage/"
#define BATCH 256

static const struct pagescan_query huge_pages = { .required = PAGESCAN_HUGE };

/* @piece: HUGE_BYTES, aligned, advised. @pagemap: our own. */
static struct {
	int uffd;
	int pagemap;
	char *map;
	char *piece;
} stage = { .uffd = -1, .pagemap = -1 };

static bool says(const char *path, const char *what)
{
	char text[128] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	return len > 0 && strstr(text, what);
}

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int begin(void)
{
	char *map;

	if (says(THP "enabled", "[never]") || !says(THP "hpage_pmd_size", "2097152\n"))
		return -EOPNOTSUPP;
	map = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	stage.map = map;
	stage.piece = map + (-(uintptr_t)map & (HUGE_BYTES - 1));
	stage.uffd = open_uffd();
	stage.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (stage.uffd >= 0 && stage.pagemap >= 0 && !madvise(stage.piece, HUGE_BYTES, MADV_HUGEPAGE))
		return 0;
	huge_fini();
	return -EOPNOTSUPP;
}

void huge_fini(void)
{
	if (stage.map)
		munmap(stage.map, 2 * HUGE_BYTES);
	if (stage.uffd >= 0)
		close(stage.uffd);
	if (stage.pagemap >= 0)
		close(stage.pagemap);
	stage.map = NULL;
	stage.uffd = stage.pagemap = -1;
}

/*
 * There may have been none. Small pages are not moved: that is no faster than to read them again, and kernels that lack
 * "mm: userfaultfd: fix race of userfaultfd_move and swap cache" (of June 2025) can lose one that is about to be
 * swapped.
 */
static bool is_huge(void)
{
	struct pagescan_regions regions = { 0 };
	const uint64_t at = (uintptr_t)stage.piece;
	const bool huge = !pagescan_walk(stage.pagemap, at, at + HUGE_BYTES, &huge_pages, &regions) &&
			  pagescan_regions_bytes(&regions) == HUGE_BYTES;

	pagescan_regions_fini(&regions);
	return huge;
}

/* The area has to be registered for that, in which mode does not matter: nothing is protected. */
static int move(void *to)
{
	struct uffdio_register area = { .range = { (uintptr_t)to, HUGE_BYTES }, .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_move move = { .dst = (uintptr_t)to, .src = (uintptr_t)stage.piece, .len = HUGE_BYTES };
	int err;

	if (ioctl(stage.uffd, UFFDIO_REGISTER, &area) < 0)
		return -errno;
	err = ioctl(stage.uffd, UFFDIO_MOVE, &move) < 0 ? -errno : 0;
	/* A part may have been moved. */
	if (err)
		madvise(to, HUGE_BYTES, MADV_DONTNEED);
	ioctl(stage.uffd, UFFDIO_UNREGISTER, &area.range);
	return err;
}

int huge_read(int fd, void *to, uint64_t offset)
{
	int err = stage.map ? 0 : begin();
	ssize_t len;

	if (err)
		return err;
	for (size_t got = 0; !err && got < HUGE_BYTES; got += (size_t)len) {
		len = pread(fd, stage.piece + got, HUGE_BYTES - got, (off_t)(offset + got));
		if (len <= 0)
			err = len < 0 ? -errno : -EBADMSG;
	}
	if (!err)
		err = is_huge() ? move(to) : -EAGAIN;
	if (err)
		madvise(stage.piece, HUGE_BYTES, MADV_DONTNEED);
	return err;
}

void huge_unmap(uint64_t start, uint64_t end)
{
	const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pagescan_regions huge = { 0 };

	if (pagemap < 0 || pagescan_walk(pagemap, start, end, &huge_pages, &huge))
		munmap((void *)start, end - start);
	for (size_t i = 0; i < huge.nr; i++)
		munmap((void *)huge.v[i].start, huge.v[i].end - huge.v[i].start);
	pagescan_regions_fini(&huge);
	if (pagemap >= 0)
		close(pagemap);
}

/*
 * The pages of another process are split by advice for a part of one (mm/madvise.c, madvise_cold_or_pageout_pte_range):
 * that one page of each is cold is all that is said.
 */
static void advise(int pidfd, const struct iovec *parts, size_t nr)
{
	const uint64_t page = pagescan_page_size();

	for (size_t done = 0; done < nr;) {
		long advised = syscall(SYS_process_madvise, pidfd, parts + done, nr - done, MADV_COLD, 0);

		if (advised < 0 && (errno == EPERM || errno == ESRCH || errno == ENOSYS))
			return;
		/* One that cannot be advised is left, as locked memory is. */
		done += advised > 0 ? (size_t)advised / page : 1;
	}
}

static void split(int pidfd, const struct pagescan_regions *huge)
{
	struct iovec parts[BATCH];
	size_t nr = 0;

	for (size_t i = 0; i < huge->nr; i++) {
		for (uint64_t at = huge->v[i].start; at < huge->v[i].end; at += HUGE_BYTES) {
			parts[nr++] = (struct iovec){ (void *)at, pagescan_page_size() };
			if (nr == BATCH) {
				advise(pidfd, parts, nr);
				nr = 0;
			}
		}
	}
	advise(pidfd, parts, nr);
}

void huge_split(int pid, const struct image_areas *areas)
{
	const uint64_t advised = 1UL << MADV_HUGEPAGE, refused = 1UL << MADV_NOHUGEPAGE;
	const bool always = says(THP "enabled", "[always]");
	const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pagescan_regions huge = { 0 };
	char path[32];
	int pagemap;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; pagemap >= 0 && i < areas->nr; i++) {
		const struct image_area *area = &areas->v[i];

		if (area->status & IMAGE_AREA_ANON_PRIVATE && !(area->flags & MAP_HUGETLB) &&
		    (area->madv & refused || (!always && !(area->madv & advised))))
			(void)pagescan_walk(pagemap, area->start, area->end, &huge_pages, &huge);
	}
	if (pidfd >= 0)
		split(pidfd, &huge);
	pagescan_regions_fini(&huge);
	if (pagemap >= 0)
		close(pagemap);
	if (pidfd >= 0)
		close(pidfd);
}
