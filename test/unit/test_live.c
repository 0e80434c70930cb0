// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task's live rounds, with this process as the task and a keeper of our own making: what has to be copied after which
 * parent, what is protected in the end, and what is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "processes.h"
#include "scan/uapi.h"
#include "track/arm.h"
#include "track/descriptors.h"
#include "track/live.h"
#include "zero.h"

#define PAGES 256

static struct {
	struct epoch epoch;
	int uffd;
	int fail;
} kept = { .uffd = -1 };

/* What the process is said to have open. */
static const char *open_link;

int descriptors_each(int pid, int (*look)(void *ctx, const char *fd, const char *link), void *ctx)
{
	(void)pid;
	return open_link ? look(ctx, "3", open_link) : 0;
}

int descriptors_info(int pid, const char *fd, const char *field, char *text, size_t size)
{
	(void)pid;
	(void)fd;
	(void)field;
	snprintf(text, size, "0%o", O_RDONLY | O_DIRECT);
	return 0;
}

int keeper_get(const struct identity *id, struct epoch *epoch, int *uffd, struct reason *why)
{
	(void)id;
	*uffd = -1;
	if (kept.uffd < 0)
		return reason_set(why, -ENOENT, "not tracked");
	*epoch = kept.epoch;
	*uffd = dup(kept.uffd);
	return 0;
}

int keeper_put(const struct identity *id, const struct epoch *epoch, int uffd, struct reason *why)
{
	(void)id;
	if (kept.fail)
		return reason_set(why, kept.fail, "no keeper");
	kept.epoch = *epoch;
	if (kept.uffd < 0)
		kept.uffd = dup(uffd);
	return 0;
}

/* Its helper cannot stop the process that waits for it. */
int arm(struct helper *helper, const struct identity *id, uint64_t *stopped, struct reason *why)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC };
	static uint8_t number;

	(void)helper;
	(void)id;
	(void)why;
	*stopped = 1;
	kept.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	kept.epoch = (struct epoch){ .tracker = { ++number } };
	return ioctl(kept.uffd, UFFDIO_API, &api) ? -errno : 0;
}

static const struct epoch_image none;
static struct pagescan_kernel kernel;
static char *memory;
static int proc_dir;

static char *page_at(size_t i)
{
	return memory + i * pagescan_page_size();
}

static int set_up(void **state)
{
	(void)state;
	memory = mmap(NULL, PAGES * pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, PAGES * pagescan_page_size(), MADV_NOHUGEPAGE);
	memset(memory, 1, PAGES * pagescan_page_size());
	return memory == MAP_FAILED;
}

static int tear_down(void **state)
{
	(void)state;
	munmap(memory, PAGES * pagescan_page_size());
	if (kept.uffd >= 0)
		close(kept.uffd);
	kept.uffd = -1;
	kept.fail = 0;
	open_link = NULL;
	return 0;
}

static int begin(struct live *live, const struct epoch_image *parent)
{
	const struct identity id = identity_of(getpid());
	int err = live_open(live, proc_dir, &id, &kernel, parent, "");

	return err ? err : live_begin(live, NULL);
}

/* What is told of each page of the memory: LIVE_COPY, LIVE_PARENT, or -1 for nothing. Returns how many are to be copied. */
static size_t protect(struct live *live, size_t limit, int told[PAGES])
{
	struct pagescan_regions regions = { 0 };
	size_t copy = 0;
	int more;

	memset(told, -1, PAGES * sizeof(*told));
	do {
		more = live_protect(live, limit, NULL, &regions);
		assert_true(more >= 0);
		for (size_t r = 0; r < regions.nr; r++) {
			for (uint64_t at = regions.v[r].start; at < regions.v[r].end; at += pagescan_page_size()) {
				size_t page = (at - (uintptr_t)memory) / pagescan_page_size();

				if (at < (uintptr_t)memory || page >= PAGES)
					continue;
				assert_int_equal(told[page], -1);
				told[page] = (int)regions.v[r].categories;
				copy += regions.v[r].categories == LIVE_COPY;
			}
		}
		pagescan_regions_fini(&regions);
	} while (more);
	return copy;
}

static void end(struct live *live, struct epoch_image *image)
{
	struct epoch_record record;

	live_settle(live);
	assert_int_equal(live_end(live, &record), 0);
	live_close(live);
	epoch_image_fini(image);
	assert_int_equal(epoch_image_add(image, &record), 0);
}

/* A whole round; returns the number of pages to be copied. */
static size_t take_round(const struct epoch_image *parent, struct epoch_image *image, int told[PAGES])
{
	struct live live;
	size_t copy;

	assert_int_equal(begin(&live, parent), 0);
	copy = protect(&live, SIZE_MAX, told);
	end(&live, image);
	return copy;
}

/* Is the page such that a later round calls it clean? */
static bool is_protected(size_t page)
{
	const uint64_t start = (uintptr_t)page_at(page);
	const struct pagescan_query query = { .required = PAGESCAN_WPALLOWED, .excluded = PAGESCAN_WRITTEN };
	struct pagescan_regions regions = { 0 };
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool found;

	assert_int_equal(pagescan_walk(pagemap, start, start + pagescan_page_size(), &query, &regions), 0);
	found = regions.nr;
	pagescan_regions_fini(&regions);
	close(pagemap);
	return found;
}

static void what_was_written_is_copied(void **state)
{
	struct epoch_image image = { 0 };
	int told[PAGES];

	(void)state;
	assert_int_equal(take_round(&none, &image, told), PAGES);
	*page_at(7) = 2;
	*page_at(200) = 2;
	assert_int_equal(take_round(&image, &image, told), 2);
	assert_int_equal(told[7], LIVE_COPY);
	assert_int_equal(told[200], LIVE_COPY);
	assert_int_equal(told[8], LIVE_PARENT);
	assert_int_equal(take_round(&image, &image, told), 0);
	epoch_image_fini(&image);
}

static void an_older_parent_makes_everything_be_copied(void **state)
{
	struct epoch_image first = { 0 }, second = { 0 };
	int told[PAGES];

	(void)state;
	take_round(&none, &first, told);
	take_round(&first, &second, told);
	assert_int_equal(take_round(&first, &second, told), PAGES);
	epoch_image_fini(&first);
	epoch_image_fini(&second);
}

/* It has taken protection, which nobody's images hold. */
static void a_round_that_was_given_up_makes_the_next_one_full(void **state)
{
	struct epoch_image image = { 0 };
	struct live live;
	int told[PAGES];

	(void)state;
	take_round(&none, &image, told);
	*page_at(3) = 2;
	assert_int_equal(begin(&live, &image), 0);
	protect(&live, SIZE_MAX, told);
	live_close(&live);
	assert_int_equal(take_round(&image, &image, told), PAGES);
	epoch_image_fini(&image);
}

static void a_page_that_was_not_copied_is_copied_next(void **state)
{
	struct epoch_image image = { 0 };
	struct live live;
	int told[PAGES];

	(void)state;
	assert_int_equal(begin(&live, &none), 0);
	protect(&live, SIZE_MAX, told);
	assert_int_equal(live_dirty(&live, (uintptr_t)page_at(5), (uintptr_t)page_at(6)), 0);
	end(&live, &image);
	assert_int_equal(take_round(&image, &image, told), 1);
	assert_int_equal(told[5], LIVE_COPY);
	epoch_image_fini(&image);
}

static void zeros_that_nobody_wrote_are_neither_copied_nor_protected(void **state)
{
	struct epoch_image image = { 0 };
	int told[PAGES];

	(void)state;
	needs_the_zero_page();
	madvise(page_at(10), 2 * pagescan_page_size(), MADV_DONTNEED);
	assert_int_equal(*(volatile char *)page_at(10), 0);
	assert_int_equal(take_round(&none, &image, told), PAGES - 2);
	assert_int_equal(told[10], -1);
	assert_int_equal(told[11], -1);
	assert_false(is_protected(10));
	assert_false(is_protected(11));
	assert_true(is_protected(12));
	epoch_image_fini(&image);
}

/* Its images do not hold what was protected there before. */
static void memory_that_a_round_passes_over_is_not_protected(void **state)
{
	struct epoch_image image = { 0 };
	int told[PAGES];

	(void)state;
	take_round(&none, &image, told);
	mprotect(page_at(64), 8 * pagescan_page_size(), PROT_NONE);
	assert_int_equal(take_round(&image, &image, told), 0);
	assert_int_equal(told[64], -1);
	mprotect(page_at(64), 8 * pagescan_page_size(), PROT_READ | PROT_WRITE);
	assert_false(is_protected(64));
	assert_false(is_protected(71));
	assert_true(is_protected(72));
	assert_int_equal(take_round(&image, &image, told), 8);
	epoch_image_fini(&image);
}

/* See test_tracker.c: mremap may take a registration off and leave the protection. */
static void protection_without_registration_is_none(void **state)
{
	const size_t size = pagescan_page_size();
	char *empty = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + size;
	struct epoch_image image = { 0 };
	int told[PAGES];

	(void)state;
	take_round(&none, &image, told);
	mprotect(empty, size, PROT_READ | PROT_WRITE);
	madvise(empty, size, MADV_NOHUGEPAGE);
	assert_int_equal(uffd_register(kept.uffd, (uintptr_t)empty, (uintptr_t)empty + size), 0);
	assert_ptr_equal(mremap(empty, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, page_at(18)), page_at(18));
	*page_at(24) = 2;
	assert_int_equal(take_round(&image, &image, told), PAGES - 1);
	*page_at(24) = 3;
	assert_int_equal(take_round(&image, &image, told), 1);
	assert_int_equal(told[24], LIVE_COPY);
	munmap(empty - size, 3 * size);
	epoch_image_fini(&image);
}

static void a_round_in_parts_is_a_whole_one(void **state)
{
	struct epoch_image image = { 0 };
	struct live live;
	int told[PAGES];

	(void)state;
	assert_int_equal(begin(&live, &none), 0);
	assert_int_equal(protect(&live, 1, told), PAGES);
	end(&live, &image);
	assert_int_equal(take_round(&image, &image, told), 0);
	epoch_image_fini(&image);
}

/* Protecting takes seconds in a process of hundreds of gigabytes. */
static void who_is_told_to_stop_protects_no_more(void **state)
{
	const volatile sig_atomic_t stop = 1;
	struct pagescan_regions regions = { 0 };
	struct live live;

	(void)state;
	assert_int_equal(begin(&live, &none), 0);
	assert_int_equal(live_protect(&live, SIZE_MAX, &stop, &regions), 1);
	assert_int_equal(regions.nr, 0);
	assert_false(is_protected(0));
	live_close(&live);
}

static void who_reads_past_the_page_tables_has_no_live_round(void **state)
{
	struct epoch_record record;
	struct live live;
	int told[PAGES];

	(void)state;
	open_link = "/a/file";
	assert_int_equal(begin(&live, &none), -EBUSY);
	live_close(&live);
	open_link = NULL;
	assert_int_equal(begin(&live, &none), 0);
	protect(&live, SIZE_MAX, told);
	open_link = "/a/file"; /* opened since */
	assert_int_equal(live_end(&live, &record), -EBUSY);
	live_close(&live);
}

/* What it protects for itself is not ours to change. */
static void who_uses_userfaultfd_has_no_live_round(void **state)
{
	struct live live;

	(void)state;
	open_link = "anon_inode:[userfaultfd]";
	assert_int_equal(begin(&live, &none), -EBUSY);
	live_close(&live);
}

static void without_a_keeper_nothing_is_protected(void **state)
{
	struct live live;

	(void)state;
	kept.fail = -EMFILE;
	assert_int_equal(begin(&live, &none), -EMFILE);
	assert_string_equal(live.tracker.why.text, "no keeper");
	live_close(&live);
	assert_false(is_protected(0));
}

int main(void)
{
#define ROUND(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ROUND(what_was_written_is_copied),
		ROUND(an_older_parent_makes_everything_be_copied),
		ROUND(a_round_that_was_given_up_makes_the_next_one_full),
		ROUND(a_page_that_was_not_copied_is_copied_next),
		ROUND(zeros_that_nobody_wrote_are_neither_copied_nor_protected),
		ROUND(memory_that_a_round_passes_over_is_not_protected),
		ROUND(protection_without_registration_is_none),
		ROUND(a_round_in_parts_is_a_whole_one),
		ROUND(who_is_told_to_stop_protects_no_more),
		ROUND(who_reads_past_the_page_tables_has_no_live_round),
		ROUND(who_uses_userfaultfd_has_no_live_round),
		ROUND(without_a_keeper_nothing_is_protected),
	};

	pagescan_probe(&kernel);
	proc_dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
