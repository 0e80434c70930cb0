// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device on a kernel without soft-dirty, in the slots of this program, which asks as another version of CRIU might.
 * The task asked about is not tracked, so whatever the way of asking, no page of it may be told clean.
 */
#include <errno.h>

#include "bind/device.h"
#include "bind/log.h"
#include "bind/parents.h"
#include "bind/round.h"
#include "bind/smaps.h"
#include "bind/verify.h"
#include "memory.h"
#include "processes.h"
#include "zero.h"

#define ANSWER 64

/* What the device calls. */
struct criu criu;
static char said[256];
static bool committed;

static void print(unsigned int level, const char *format, ...)
{
	va_list args;

	(void)level;
	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
}

struct round_task *round_task_seized(int dir, const struct identity *id, const struct pagescan_kernel *offered)
{
	(void)dir;
	(void)id;
	(void)offered;
	return NULL;
}

struct round_task *round_find(int pid)
{
	(void)pid;
	return NULL;
}

void round_reset(struct round_task *task)
{
	(void)task;
}

static int not_read_of;
static struct pagescan_region not_read;

void round_not_read(int pid, uint64_t start, uint64_t end)
{
	not_read_of = pid;
	not_read = (struct pagescan_region){ start, end, 0 };
}

void round_commit(void)
{
	committed = true;
}

static int opened_fd, opened_pid, completed, completing;

void round_pagemap_opened(int fd, int pid)
{
	opened_fd = fd;
	opened_pid = pid;
}

static int asked_fd, asked_pid, asked_dir, pages_dir, pages_flags;

void parents_pagemap_opened(int fd, int dir, int pid)
{
	asked_fd = fd;
	asked_dir = dir;
	asked_pid = pid;
}

void parents_pages_opened(int dir, int flags)
{
	pages_dir = dir;
	pages_flags = flags;
}

size_t round_omit(const struct round_task *of, struct pagescan_region *vec, size_t nr)
{
	(void)of;
	(void)vec;
	return nr;
}

int round_complete(void)
{
	completed++;
	return completing;
}

int smaps_open(const struct identity *id, const char *maps)
{
	(void)id;
	(void)maps;
	return -1;
}

int verify_answer(struct round_task *of, const struct pagescan_region *vec, size_t nr)
{
	(void)of;
	(void)vec;
	(void)nr;
	return 0;
}

int verify_entries(struct round_task *of, uint64_t first, const uint64_t *pme, size_t nr)
{
	(void)of;
	(void)first;
	(void)pme;
	(void)nr;
	return 0;
}

static pid_t task;
static int task_dir;
static struct pagescan_region answer[ANSWER];

/* A child that has written every second page of 32, and read the others. */
static int install(void **state)
{
	struct pagescan_kernel without;
	struct elf elf;
	bool zero;

	if (set_up(state))
		return -1;
	map(0, PAGES, ANONYMOUS);
	/* Where the zero page is not mapped, what is read becomes a page like others. */
	zero = reading_maps_the_zero_page();
	for (size_t i = 0; i < 32; i++) {
		if (zero || i % 2 == 0)
			touch(page_at(i), i % 2 == 0);
	}
	task = start_child();
	if (!task) {
		pause();
		_exit(0);
	}
	task_dir = open_proc(task);
	criu.print_on_level = print;
	without = kernel;
	without.soft_dirty = false;
	slots_main_program(&elf);
	return device_install(&elf, &without, true) ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	end_child(task);
	return 0;
}

/* The device does not see every way of opening a file. */
static int open_pagemap(bool seen)
{
	int fd = seen ? openat(task_dir, "pagemap", O_RDONLY | O_CLOEXEC) :
			(int)syscall(SYS_openat, task_dir, "pagemap", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void all_are_written(int fd)
{
	struct pagescan_ioctl_arg arg = question(0, 32, answer, ANSWER);

	assert_int_equal(ioctl(fd, PAGESCAN_IOCTL, &arg), 16);
	for (size_t i = 0; i < 16; i++)
		assert_true(answer[i].categories & PAGESCAN_SOFT_DIRTY);
	close(fd);
}

/* To be the first: of what was seen once, the device knows the inode. */
static void every_page_is_written_if_the_opening_was_not_seen(void **state)
{
	(void)state;
	all_are_written(open_pagemap(false));
}

static void every_page_is_written(void **state)
{
	(void)state;
	all_are_written(open_pagemap(true));
}

static void so_it_is_by_pread(void **state)
{
	uint64_t pme[32] = { 0 };
	int fd = open_pagemap(true);

	(void)state;
	assert_int_equal(pread(fd, pme, sizeof(pme), (off_t)((uintptr_t)memory / page * 8)), sizeof(pme));
	for (size_t i = 0; i < 32; i++)
		assert_true(pme[i] & PME_SOFT_DIRTY);
	close(fd);
}

/* The kernel would answer that there are none. */
static void written_pages_alone_are_refused(void **state)
{
	int fd = open_pagemap(true);

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pagescan_ioctl_arg arg = question(0, 32, answer, ANSWER);

		if (i)
			arg.category_mask |= PAGESCAN_SOFT_DIRTY;
		else
			arg.category_anyof_mask |= PAGESCAN_SOFT_DIRTY;
		said[0] = '\0';
		assert_int_equal(ioctl(fd, PAGESCAN_IOCTL, &arg), -1);
		assert_int_equal(errno, EOPNOTSUPP);
		assert_non_null(strstr(said, "criu asks for written pages alone"));
	}
	close(fd);
}

static void other_questions_are_the_kernels(void **state)
{
	struct pagescan_ioctl_arg arg = question(0, 32, answer, ANSWER);
	int fd = open_pagemap(true);

	(void)state;
	arg.return_mask = PAGESCAN_PRESENT;
	assert_int_equal(ioctl(fd, PAGESCAN_IOCTL, &arg), 16);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(answer[i].categories, PAGESCAN_PRESENT);
	close(fd);
}

/* As a read-mode pre-dump copies memory: what it cannot read is not in its images. */
static void a_page_that_cannot_be_read_is_told(void **state)
{
	char bytes[64];
	struct iovec local = { bytes, sizeof(bytes) }, remote = { page_at(2) + 5, sizeof(bytes) };

	(void)state;
	assert_int_equal(process_vm_readv(task, &local, 1, &remote, 1, 0), sizeof(bytes));
	assert_int_equal(bytes[0], page_at(2)[5]);
	assert_int_equal(not_read_of, 0);
	remote.iov_base = (void *)(page + 5); /* nothing is mapped there */
	assert_int_equal(process_vm_readv(task, &local, 1, &remote, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(not_read_of, task);
	assert_int_equal(not_read.start, page);
	assert_int_equal(not_read.end, 2 * page);
}

/* The kernel's own call would take from its forked processes what the task shares with them (track/memory.h). */
static void a_task_that_is_read_goes_on_sharing(void **state)
{
	char bytes[2 * page];
	struct iovec local = { bytes, sizeof(bytes) };
	struct iovec remote[] = { { page_at(2), page }, { page_at(4), page } };
	int fd = open_pagemap(true);
	uint64_t pme;

	(void)state;
	assert_int_equal(process_vm_readv(task, &local, 1, remote, 2, 0), sizeof(bytes));
	assert_int_equal(pread(fd, &pme, sizeof(pme), (off_t)((uintptr_t)page_at(4) / page * sizeof(pme))),
			 sizeof(pme));
	assert_true(pme & PME_PRESENT && !(pme & PME_EXCLUSIVE));
	/* No more than there is room for. */
	memset(bytes, 0, sizeof(bytes));
	local.iov_len = page + 1;
	assert_int_equal(process_vm_readv(task, &local, 1, remote, 2, 0), page + 1);
	assert_memory_equal(bytes, page_at(2), page);
	assert_int_equal(bytes[page + 1], 0);
	close(fd);
}

/* The reset of a task that the round does not know succeeds, and the log says what that means. */
static void a_reset_of_an_unknown_task_is_told(void **state)
{
	int fd = openat(task_dir, "clear_refs", O_RDWR | O_CLOEXEC);

	(void)state;
	said[0] = '\0';
	assert_int_equal(write(fd, "4", 1), 1);
	assert_non_null(strstr(said, "cannot be tracked"));
	close(fd);
}

/* CRIU's cache is not kept from before its test has seen tracking, and then under a name that is ours. */
static void a_cache_that_denies_tracking_is_not_kept(void **state)
{
	const uint64_t at = (uintptr_t)memory / page * 8;
	char dir[] = "/tmp/test_device.XXXXXX", from[64], to[64], ours[64];
	int self, fd;
	uint64_t pme;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(from, sizeof(from), "%s/criu.kdat.tmp", dir);
	snprintf(to, sizeof(to), "%s/criu.kdat", dir);
	snprintf(ours, sizeof(ours), "%s/pagescan-criu.kdat", dir);
	close(open(from, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(rename(from, to), -1);
	assert_int_equal(errno, EAGAIN);
	self = open_proc(getpid());
	fd = openat(self, "pagemap", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, (off_t)at, SEEK_SET), at);
	assert_int_equal(read(fd, &pme, sizeof(pme)), sizeof(pme));
	assert_true(pme & PME_SOFT_DIRTY);
	close(fd);
	close(self);
	close(open(from, O_CREAT | O_EXCL | O_WRONLY, 0600)); /* the first one is gone */
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(access(ours, F_OK), 0);
	assert_int_equal(unlink(to) | rmdir(dir), 0);
}

static void other_writes_are_the_kernels(void **state)
{
	int fd = openat(task_dir, "clear_refs", O_RDWR | O_CLOEXEC);

	(void)state;
	said[0] = '\0';
	assert_int_equal(write(fd, "1", 1), 1);
	assert_int_equal(write(fd, "nonsense", 8), -1);
	assert_int_equal(said[0], '\0');
	close(fd);
}

/* A device that finds not all of its slots takes none, so each is called here. */
static void files_are_the_kernels(void **state)
{
	char name[] = "/tmp/test_device.XXXXXX", other[] = "/tmp/test_device.other.XXXXXX", text[8] = "";
	int fd = mkstemp(name);

	(void)state;
	close(mkstemp(other));
	assert_int_equal(write(fd, "4", 1), 1);
	close(fd);
	assert_int_equal(rename(name, other), 0);
	fd = open(other, O_RDONLY);
	assert_int_equal(read(fd, text, sizeof(text)), 1);
	assert_string_equal(text, "4");
	close(fd);
	assert_int_equal(unlink(other), 0);
}

static void only_a_writer_of_the_statistics_commits(void **state)
{
	char name[] = "/tmp/test_device.XXXXXX";
	int dir, fd;

	(void)state;
	assert_non_null(mkdtemp(name));
	dir = open(name, O_RDONLY | O_DIRECTORY);
	fd = openat(dir, CRIU_STATS_DUMP, O_CREAT | O_WRONLY, 0600);
	assert_true(committed);
	close(fd);
	committed = false;
	fd = openat(dir, CRIU_STATS_DUMP, O_RDONLY);
	assert_true(fd >= 0 && !committed);
	close(fd);
	unlinkat(dir, CRIU_STATS_DUMP, 0);
	close(dir);
	rmdir(name);
}

static int create(int dir, const char *name)
{
	int fd = openat(dir, name, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	if (fd >= 0)
		close(fd);
	return fd;
}

/* Those of tasks, in a dump: a pre-dump writes them when the questions are long answered. */
static void pagemaps_of_a_dump_are_told(void **state)
{
	static const char *const others[] = { "pagemap-7.img.tmp", "pagemap-.img", "pagemap-shmem-7.img",
					      "pages-7.img" };
	char name[] = "/tmp/test_device.XXXXXX";
	int dir, fd;

	(void)state;
	assert_non_null(mkdtemp(name));
	dir = open(name, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		assert_true(create(dir, others[i]) >= 0 && !unlinkat(dir, others[i], 0));
	device_set_pre_dump(true);
	assert_true(create(dir, "pagemap-7.img") >= 0);
	device_set_pre_dump(false);
	fd = openat(dir, "pagemap-7.img", O_RDONLY); /* as a parent's */
	assert_true(fd >= 0 && !opened_pid && asked_fd == fd);
	assert_true(asked_dir == dir && asked_pid == 7 && !pages_dir);
	close(fd);
	fd = create(dir, "pagemap-7.img");
	assert_true(fd >= 0 && opened_fd == fd);
	assert_int_equal(opened_pid, 7);
	assert_int_equal(unlinkat(dir, "pagemap-7.img", 0), 0);
	close(dir);
	rmdir(name);
}

/* Those of parents, too, for reading and for removing pages from them. */
static void pages_of_parents_are_told(void **state)
{
	char name[] = "/tmp/test_device.XXXXXX";
	int dir;

	(void)state;
	assert_non_null(mkdtemp(name));
	dir = open(name, O_RDONLY | O_DIRECTORY);
	assert_true(create(dir, "pages-3.img") >= 0 && !pages_dir);
	device_set_pre_dump(true);
	assert_true(openat(dir, "pages-3.img", O_RDONLY) >= 0 && !pages_dir);
	device_set_pre_dump(false);
	assert_true(openat(dir, "pages-3.img", O_RDONLY) >= 0);
	assert_true(pages_dir == dir && pages_flags == O_RDONLY);
	assert_true(openat(dir, "pages-3.img", O_RDWR) >= 0);
	assert_int_equal(pages_flags, O_RDWR);
	assert_int_equal(unlinkat(dir, "pages-3.img", 0), 0);
	close(dir);
	rmdir(name);
}

/* Images become valid by their inventory: it is not even empty there before they are complete. */
static void an_inventory_is_written_of_complete_images_only(void **state)
{
	char name[] = "/tmp/test_device.XXXXXX";
	int dir;

	(void)state;
	assert_non_null(mkdtemp(name));
	dir = open(name, O_RDONLY | O_DIRECTORY);
	assert_int_equal(openat(dir, CRIU_INVENTORY, O_RDONLY), -1);
	assert_int_equal(completed, 0);
	completing = -ENOSPC;
	assert_int_equal(create(dir, CRIU_INVENTORY), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(faccessat(dir, CRIU_INVENTORY, F_OK, 0), -1);
	completing = 0;
	assert_true(create(dir, CRIU_INVENTORY) >= 0);
	assert_int_equal(completed, 2);
	assert_int_equal(unlinkat(dir, CRIU_INVENTORY, 0), 0);
	close(dir);
	rmdir(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_is_written_if_the_opening_was_not_seen),
		cmocka_unit_test(every_page_is_written),
		cmocka_unit_test(so_it_is_by_pread),
		cmocka_unit_test(written_pages_alone_are_refused),
		cmocka_unit_test(other_questions_are_the_kernels),
		cmocka_unit_test(a_page_that_cannot_be_read_is_told),
		cmocka_unit_test(a_task_that_is_read_goes_on_sharing),
		cmocka_unit_test(a_reset_of_an_unknown_task_is_told),
		cmocka_unit_test(a_cache_that_denies_tracking_is_not_kept),
		cmocka_unit_test(other_writes_are_the_kernels),
		cmocka_unit_test(files_are_the_kernels),
		cmocka_unit_test(only_a_writer_of_the_statistics_commits),
		cmocka_unit_test(pagemaps_of_a_dump_are_told),
		cmocka_unit_test(pages_of_parents_are_told),
		cmocka_unit_test(an_inventory_is_written_of_complete_images_only),
	};

	return cmocka_run_group_tests(tests, install, end);
}
