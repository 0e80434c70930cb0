// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task's rounds, with this process as the frozen task and a keeper of our own making: what is clean after which
 * parent, what a reset protects, and what it lets go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "processes.h"
#include "track/tracker.h"
#include "zero.h"

#define PAGES 256

/* The keeper's memory, and whether it works at all. */
static struct {
	struct identity id;
	struct epoch epoch;
	int uffd;
	int fail;
} kept = { .uffd = -1 };

int keeper_get(const struct identity *id, struct epoch *epoch, int *uffd, struct reason *why)
{
	(void)why;
	if (kept.uffd < 0 || !identity_equal(id, &kept.id))
		return -ENOENT;
	*epoch = kept.epoch;
	*uffd = dup(kept.uffd);
	return 0;
}

int keeper_put(const struct identity *id, const struct epoch *epoch, int uffd, struct reason *why)
{
	if (kept.fail)
		return reason_set(why, kept.fail, "no keeper");
	if (kept.uffd >= 0)
		close(kept.uffd);
	kept.id = *id;
	kept.epoch = *epoch;
	kept.uffd = dup(uffd);
	return 0;
}

static int here(void *ctx, long nr, const unsigned long args[6], long *result)
{
	(void)ctx;
	*result = syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	if (*result < 0)
		*result = -errno;
	return 0;
}

static bool reads_under_way;

bool direct_io_under_way(int pid, const struct areas *areas, struct reason *why)
{
	(void)pid;
	(void)areas;
	if (reads_under_way)
		reason_set(why, 0, "reads are under way");
	return reads_under_way;
}

/*
 * The kernel may be made to look like one that does not tell holes in the page tables as written: then what is empty
 * is not told to the question for "written" alone.
 */
static bool holes_untold;

int ioctl(int fd, unsigned long request, ...)
{
	struct pagescan_ioctl_arg *question;
	bool told_less;
	va_list args;
	void *arg;
	int result;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	question = arg;
	told_less = holes_untold && request == PAGESCAN_IOCTL && question->category_mask == PAGESCAN_WRITTEN &&
		    !question->category_anyof_mask;
	if (told_less)
		question->category_anyof_mask = PAGESCAN_PRESENT | PAGESCAN_SWAPPED;
	result = (int)syscall(SYS_ioctl, fd, request, arg);
	if (told_less)
		question->category_anyof_mask = 0;
	return result;
}

static const struct remote remote = { .syscall = here };
static struct pagescan_kernel kernel;
static char *memory, *anchor; /* the anchor stays tracked whatever becomes of the memory */
static int proc_dir;

static char *page_at(size_t i)
{
	return memory + i * pagescan_page_size();
}

static struct area *area_of(struct tracker *tracker, const void *addr)
{
	struct areas *areas = &tracker->snapshot.areas;

	return &areas->v[areas_find(areas, (uintptr_t)addr)];
}

/* Ask as CRIU does. Returns the number of regions. */
static int ask_about(struct tracker *tracker, const char *start, size_t pages, struct pagescan_region vec[PAGES])
{
	const uint64_t end = (uintptr_t)start + pages * pagescan_page_size();
	struct pagescan_ioctl_arg arg = snapshot_question((uintptr_t)start, end, vec, PAGES);
	int nr = snapshot_scan(&tracker->snapshot, &arg);

	assert_true(nr >= 0);
	return nr;
}

/* Say which pages of the memory are there and dirty. */
static size_t ask(struct tracker *tracker, bool dirty[PAGES])
{
	struct pagescan_region vec[PAGES];
	int nr = ask_about(tracker, anchor, 1, vec);
	size_t count = 0;

	assert_int_equal(nr, 1);
	nr = ask_about(tracker, memory, PAGES, vec);
	memset(dirty, 0, PAGES * sizeof(*dirty));
	for (int r = 0; r < nr; r++) {
		if (!(vec[r].categories & PAGESCAN_SOFT_DIRTY))
			continue;
		for (uint64_t at = vec[r].start; at < vec[r].end; at += pagescan_page_size(), count++)
			dirty[(at - (uintptr_t)memory) / pagescan_page_size()] = true;
	}
	return count;
}

static void open_round(struct tracker *tracker, const struct epoch_image *parent, const char *why)
{
	const struct identity id = identity_of(getpid());

	assert_int_equal(tracker_open(tracker, proc_dir, &id, &kernel, parent, why), 0);
	if (tracker_begin(tracker, &remote))
		fail_msg("cannot be tracked: %s", tracker->why.text);
}

/* The record of the round goes into *image, alone. */
static void reset(struct tracker *tracker, struct epoch_image *image)
{
	struct tracker_summary summary;
	struct epoch_record record;

	assert_int_equal(tracker_reset(tracker, &record, &summary), 0);
	epoch_image_fini(image);
	assert_int_equal(epoch_image_add(image, &record), 0);
}

/* A whole round; returns the number of dirty pages. */
static size_t take_round(const struct epoch_image *parent, struct epoch_image *image)
{
	struct tracker tracker;
	bool dirty[PAGES];
	size_t count;

	open_round(&tracker, parent, "");
	count = ask(&tracker, dirty);
	reset(&tracker, image);
	tracker_close(&tracker);
	return count;
}

/* The next round would find this page dirty, and no other. */
static void one_is_dirty(const struct epoch_image *parent, size_t page)
{
	struct tracker tracker;
	bool dirty[PAGES];

	open_round(&tracker, parent, "");
	assert_int_equal(ask(&tracker, dirty), 1);
	assert_true(dirty[page]);
	tracker_close(&tracker);
}

static int set_up(void **state)
{
	(void)state;
	memory = mmap(NULL, PAGES * pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, PAGES * pagescan_page_size(), MADV_NOHUGEPAGE);
	memset(memory, 1, PAGES * pagescan_page_size());
	anchor = mmap(NULL, pagescan_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(anchor, pagescan_page_size(), PROT_READ | PROT_WRITE | PROT_EXEC); /* no neighbour merges with it */
	*anchor = 1;
	return memory == MAP_FAILED || anchor == MAP_FAILED;
}

static int tear_down(void **state)
{
	(void)state;
	munmap(memory, PAGES * pagescan_page_size());
	munmap(anchor, pagescan_page_size());
	if (kept.uffd >= 0)
		close(kept.uffd);
	kept.uffd = -1;
	kept.fail = 0;
	return 0;
}

static const struct epoch_image none;

static void only_what_was_written_is_dirty_after_its_own_parent(void **state)
{
	struct epoch_image image = { 0 }, next = { 0 };

	(void)state;
	assert_int_equal(take_round(&none, &image), PAGES);
	*page_at(3) = 2;
	*page_at(200) = 2;
	assert_int_equal(take_round(&image, &next), 2);
	assert_int_equal(take_round(&next, &image), 0);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

static void another_parent_makes_everything_dirty(void **state)
{
	struct epoch_image first = { 0 }, second = { 0 }, third = { 0 };

	(void)state;
	take_round(&none, &first);
	take_round(&first, &second);
	assert_int_equal(take_round(&first, &third), PAGES); /* older than the last reset */
	assert_int_equal(take_round(&third, &first), 0);
	first.v[0].epoch.tracker[5] ^= 1;
	assert_int_equal(take_round(&first, &second), PAGES); /* another tracker's */
	second.v[0].start_time++;
	assert_int_equal(take_round(&second, &third), PAGES); /* another task's */
	assert_int_equal(take_round(&none, &first), PAGES);
	epoch_image_fini(&first);
	epoch_image_fini(&second);
	epoch_image_fini(&third);
}

static void a_round_without_its_images_makes_the_next_one_full(void **state)
{
	struct epoch_image good = { 0 }, lost = { 0 }, next = { 0 };

	(void)state;
	take_round(&none, &good);
	*page_at(9) = 2;
	take_round(&good, &lost); /* page 9 is in these images, which never complete */
	assert_int_equal(take_round(&good, &next), PAGES);
	epoch_image_fini(&good);
	epoch_image_fini(&lost);
	epoch_image_fini(&next);
}

/* The file goes with the last descriptor, unless somebody reads /proc/PID/fdinfo just now and has it a moment longer. */
static void lose_keeper(void)
{
	const struct pagescan_query tracked = { .required = PAGESCAN_WPALLOWED };
	int fd = openat(proc_dir, "pagemap", O_RDONLY | O_CLOEXEC);
	struct pagescan_regions found = { .nr = 1 };

	close(kept.uffd);
	kept.uffd = -1;
	for (int i = 0; i < NAPS && found.nr; i++) {
		pagescan_regions_fini(&found);
		assert_int_equal(pagescan_walk(fd, (uintptr_t)memory, (uintptr_t)page_at(PAGES), &tracked, &found), 0);
		nap(found.nr ? 5 : 0);
	}
	assert_int_equal(found.nr, 0);
	pagescan_regions_fini(&found);
	close(fd);
}

static void a_lost_keeper_makes_everything_dirty(void **state)
{
	struct epoch_image image = { 0 }, next = { 0 };

	(void)state;
	take_round(&none, &image);
	lose_keeper();
	assert_int_equal(take_round(&image, &next), PAGES);
	assert_int_equal(take_round(&next, &image), 0);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

static void a_keeper_that_refuses_leaves_the_last_round_valid(void **state)
{
	struct epoch_image image = { 0 }, next = { 0 };
	struct tracker_summary summary;
	struct epoch_record record;
	struct tracker tracker;
	bool dirty[PAGES];

	(void)state;
	take_round(&none, &image);
	*page_at(9) = 2;
	kept.fail = -ENOSPC;
	open_round(&tracker, &image, "");
	assert_int_equal(ask(&tracker, dirty), 1);
	assert_int_equal(tracker_reset(&tracker, &record, &summary), -ENOSPC);
	tracker_close(&tracker);
	kept.fail = 0;
	assert_int_equal(take_round(&image, &next), 1); /* page 9 was not protected */
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

/* process_vm_writev(2) by somebody whom CRIU did not freeze, after CRIU asked and before it resets. */
static void a_write_between_question_and_reset_is_not_lost(void **state)
{
	struct epoch_image image = { 0 };
	struct tracker tracker;
	bool dirty[PAGES];

	(void)state;
	take_round(&none, &image);
	*page_at(10) = 2;
	*page_at(20) = 2; /* one span with page 10 */
	open_round(&tracker, &image, "");
	assert_int_equal(ask(&tracker, dirty), 2);
	*page_at(15) = 3;
	reset(&tracker, &image);
	tracker_close(&tracker);
	one_is_dirty(&image, 15);
	epoch_image_fini(&image);
}

static void a_page_that_could_not_be_read_is_dirty(void **state)
{
	struct epoch_image image = { 0 };
	struct tracker tracker;
	bool dirty[PAGES];
	int uffd;

	(void)state;
	open_round(&tracker, &none, "");
	ask(&tracker, dirty);
	reset(&tracker, &image);
	assert_int_equal(tracker_mark_dirty(&tracker, (uintptr_t)page_at(7), (uintptr_t)page_at(8)), 0);
	/* Not ours, and so dirty anyway; but what may have stayed protected is told. */
	assert_int_equal(tracker_mark_dirty(&tracker, (uintptr_t)page_at(PAGES), (uintptr_t)page_at(PAGES + 1)), 0);
	uffd = tracker.uffd;
	tracker.uffd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(tracker_mark_dirty(&tracker, (uintptr_t)page_at(7), (uintptr_t)page_at(8)) < 0);
	close(tracker.uffd);
	tracker.uffd = uffd;
	tracker_close(&tracker);
	one_is_dirty(&image, 7);
	epoch_image_fini(&image);
}

/*
 * mremap makes one area of what it moves and what is beside it, if nothing was ever written to what it moves. All of
 * that loses its registration.
 */
static void protection_without_registration_is_none(void **state)
{
	const size_t size = pagescan_page_size();
	char *empty = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + size;
	struct epoch_image image = { 0 }, next = { 0 };

	(void)state;
	take_round(&none, &image);
	mprotect(empty, size, PROT_READ | PROT_WRITE);
	madvise(empty, size, MADV_NOHUGEPAGE); /* as the memory */
	assert_int_equal(uffd_register(kept.uffd, (uintptr_t)empty, (uintptr_t)empty + size), 0);
	assert_ptr_equal(mremap(empty, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, page_at(18)), page_at(18));
	*page_at(24) = 2;
	assert_int_equal(take_round(&image, &next), PAGES - 1);
	*page_at(24) = 3;
	one_is_dirty(&next, 24);
	munmap(empty - size, 3 * size);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

/* It writes past the page tables, also after this round has copied the page. */
static void what_a_device_may_write_stays_dirty(void **state)
{
	struct epoch_image image = { 0 }, next = { 0 };
	struct epoch_record record;
	struct tracker tracker;
	bool dirty[PAGES];

	(void)state;
	take_round(&none, &image);
	*page_at(9) = 2;
	reads_under_way = true;
	assert_int_equal(take_round(&image, &next), 1);
	reads_under_way = false;
	*page_at(10) = 2;
	open_round(&tracker, &next, "");
	assert_int_equal(ask(&tracker, dirty), 2); /* what was protected before is still clean */
	assert_true(dirty[9] && dirty[10]);
	assert_int_equal(tracker_reset(&tracker, &record, &(struct tracker_summary){ 0 }), 0);
	tracker_close(&tracker);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

static void no_round_begins_tracking_while_a_device_may_write(void **state)
{
	struct tracker_summary summary;
	struct epoch_record record;
	struct tracker tracker;
	bool dirty[PAGES];

	(void)state;
	reads_under_way = true;
	open_round(&tracker, &none, "");
	reads_under_way = false; /* what counts is when the round began */
	assert_int_equal(ask(&tracker, dirty), PAGES);
	assert_int_equal(tracker_reset(&tracker, &record, &summary), -EBUSY);
	assert_string_equal(tracker.why.text, "reads are under way");
	tracker_close(&tracker);
}

static void areas_that_were_not_asked_about_are_let_go(void **state)
{
	struct epoch_image image = { 0 };
	struct tracker_summary summary;
	struct epoch_record record;
	struct tracker tracker;

	(void)state;
	take_round(&none, &image);
	open_round(&tracker, &image, "");
	assert_true(area_of(&tracker, memory)->ours);
	assert_int_equal(tracker_reset(&tracker, &record, &summary), 0); /* nobody asked */
	tracker_close(&tracker);
	open_round(&tracker, &image, "");
	assert_false(area_of(&tracker, memory)->ours);
	tracker_close(&tracker);
	epoch_image_fini(&image);
}

static void unreadable_areas_are_let_go(void **state)
{
	struct epoch_image image = { 0 }, next = { 0 };
	struct tracker tracker;
	bool dirty[PAGES];

	(void)state;
	take_round(&none, &image);
	mprotect(memory, PAGES * pagescan_page_size(), PROT_NONE);
	assert_int_equal(take_round(&image, &next), PAGES);
	mprotect(memory, PAGES * pagescan_page_size(), PROT_READ | PROT_WRITE);
	open_round(&tracker, &next, "");
	assert_false(area_of(&tracker, memory)->ours);
	assert_int_equal(ask(&tracker, dirty), PAGES);
	tracker_close(&tracker);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

/* A write-protected page of a userfaultfd that is not ours looks just like a clean one of ours. */
static void areas_of_another_userfaultfd_are_never_clean(void **state)
{
	const struct pagescan_query there = { .anyof = PAGESCAN_PRESENT | PAGESCAN_SWAPPED };
	struct epoch_image image = { 0 }, next = { 0 };
	struct tracker tracker;
	struct identity self;
	int other;

	(void)state;
	take_round(&none, &image);
	assert_int_equal(identity_read(proc_dir, &self), 0);
	munmap(memory, PAGES * pagescan_page_size());
	memory = mmap(memory, PAGES * pagescan_page_size(), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(memory, 5, PAGES * pagescan_page_size());
	other = uffd_create(&self, &remote, NULL);
	assert_true(other >= 0);
	assert_int_equal(uffd_register(other, (uintptr_t)memory, (uintptr_t)page_at(PAGES)), 0);
	open_round(&tracker, &image, "");
	assert_int_equal(pagescan_protect(tracker.snapshot.pagemap_fd, (uintptr_t)memory, (uintptr_t)page_at(PAGES),
					  &there, NULL),
			 0);
	tracker_close(&tracker);

	assert_int_equal(take_round(&image, &next), PAGES);
	assert_int_equal(take_round(&next, &image), PAGES); /* refused, and so dirty every time */
	close(other);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

/*
 * A page that earlier rounds protected and that a full round does not tell CRIU of (the zero page, say) is not in the
 * images: were it still protected, the next round would look for it there.
 */
static void a_full_round_protects_nothing_but_its_own(void **state)
{
	const struct pagescan_query clean = { .required = PAGESCAN_PRESENT, .excluded = PAGESCAN_WRITTEN };
	struct epoch_image image = { 0 }, next = { 0 };
	struct pagescan_regions found = { 0 };
	struct pagescan_ioctl_arg arg = { .size = sizeof(arg),
					  .flags = PAGESCAN_WP_MATCHING,
					  .category_anyof_mask = PAGESCAN_PRESENT };
	struct tracker tracker;

	(void)state;
	needs_the_zero_page();
	take_round(&none, &image);
	/* The kernel's own way to such a page takes a huge page of zeros; this one is made by hand. */
	madvise(page_at(5), pagescan_page_size(), MADV_DONTNEED);
	(void)*(volatile char *)page_at(5);
	open_round(&tracker, &image, "");
	arg.start = (uintptr_t)page_at(5);
	arg.end = (uintptr_t)page_at(6);
	assert_int_equal(ioctl(tracker.snapshot.pagemap_fd, PAGESCAN_IOCTL, &arg), 0);
	tracker_close(&tracker);

	assert_int_equal(take_round(&none, &next), PAGES - 1);
	open_round(&tracker, &next, "");
	assert_int_equal(pagescan_walk(tracker.snapshot.pagemap_fd, (uintptr_t)page_at(5), (uintptr_t)page_at(6),
				       &clean, &found),
			 0);
	assert_int_equal(found.nr, 0);
	tracker_close(&tracker);
	pagescan_regions_fini(&found);
	epoch_image_fini(&image);
	epoch_image_fini(&next);
}

/* Nobody has a page that was dropped: clean, it would be looked for in the parent, which has its old bytes. */
static void holes_are_not_clean_where_they_are_not_told(void **state)
{
	const struct pagescan_kernel real = kernel;
	struct epoch_image image = { 0 };
	struct pagescan_region vec[PAGES];
	struct tracker tracker;

	(void)state;
	holes_untold = true;
	pagescan_probe(&kernel);
	assert_false(kernel.holes_written);
	take_round(&none, &image);
	madvise(page_at(5), pagescan_page_size(), MADV_DONTNEED);
	open_round(&tracker, &image, "");
	assert_int_equal(ask_about(&tracker, page_at(4), 3, vec), 2);
	assert_int_equal(vec[0].end, (uintptr_t)page_at(5));
	assert_int_equal(vec[1].start, (uintptr_t)page_at(6));
	tracker_close(&tracker);
	holes_untold = false;
	kernel = real;
	epoch_image_fini(&image);
}

static void reading_changes_nothing(void **state)
{
	struct epoch_image image = { 0 };
	struct tracker tracker;
	bool dirty[PAGES];

	(void)state;
	take_round(&none, &image);
	*page_at(1) = 2;
	for (int i = 0; i < 2; i++) {
		open_round(&tracker, &image, "");
		assert_int_equal(ask(&tracker, dirty), 1);
		assert_int_equal(ask(&tracker, dirty), 1);
		tracker_close(&tracker); /* a dump that failed before its reset */
	}
	epoch_image_fini(&image);
}

int main(void)
{
#define ROUND(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ROUND(only_what_was_written_is_dirty_after_its_own_parent),
		ROUND(another_parent_makes_everything_dirty),
		ROUND(a_round_without_its_images_makes_the_next_one_full),
		ROUND(a_lost_keeper_makes_everything_dirty),
		ROUND(a_keeper_that_refuses_leaves_the_last_round_valid),
		ROUND(a_write_between_question_and_reset_is_not_lost),
		ROUND(a_page_that_could_not_be_read_is_dirty),
		ROUND(protection_without_registration_is_none),
		ROUND(what_a_device_may_write_stays_dirty),
		ROUND(no_round_begins_tracking_while_a_device_may_write),
		ROUND(areas_that_were_not_asked_about_are_let_go),
		ROUND(unreadable_areas_are_let_go),
		ROUND(areas_of_another_userfaultfd_are_never_clean),
		ROUND(a_full_round_protects_nothing_but_its_own),
		ROUND(holes_are_not_clean_where_they_are_not_told),
		ROUND(reading_changes_nothing),
	};

	pagescan_probe(&kernel);
	proc_dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
