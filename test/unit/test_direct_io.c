// SPDX-License-Identifier: GPL-2.0-only
/*
 * When a device may write memory past the page tables: it takes both an AIO context and a file opened with O_DIRECT, or
 * an io_uring. In a frozen task it takes a read that is under way, too, and a disk that counts all of its reads tells
 * that there is none. What cannot be looked at is in doubt.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../held_disk.h"
#include "track/direct_io.h"
#include "unit.h"

#define MANY 200U /* more than the loop driver takes at a time (128), less than its scheduler does */

static struct held_disk disk;
static bool have_disk;
static const char *lacking = "a disk whose reads can be held: root, loop devices, FUSE, mkfs.ext4";
static char *memory;

static bool ask(bool (*question)(int, const struct areas *, struct reason *), int pid, struct reason *why)
{
	const int proc_dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct areas areas;
	bool result;

	why->text[0] = '\0';
	assert_int_equal(areas_read(proc_dir, &areas), 0);
	result = question(pid, &areas, why);
	areas_fini(&areas);
	close(proc_dir);
	assert_int_equal(result, !!why->text[0]);
	return result;
}

static bool possible(struct reason *why)
{
	return ask(direct_io_possible, getpid(), why);
}

static bool under_way(struct reason *why)
{
	return ask(direct_io_under_way, getpid(), why);
}

static aio_context_t begin_aio(void)
{
	aio_context_t ring = 0;

	assert_int_equal(syscall(SYS_io_setup, MANY, &ring), 0);
	return ring;
}

static int open_data(void)
{
	char path[96];
	int data;

	if (!have_disk) {
		print_message("needs %s\n", lacking);
		skip();
	}
	snprintf(path, sizeof(path), "%s/data", disk.directory);
	data = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	assert_true(data >= 0);
	return data;
}

/* Of pages that nobody has read before: what FUSE has it need not ask for. Neighbours would become one request. */
static void submit(aio_context_t ring, int data, unsigned int nr)
{
	static unsigned int next;

	for (unsigned int i = 0; i < nr; i++) {
		const unsigned int page = next++ * 5 % HELD_PAGES;
		struct iocb request = { .aio_data = page,
					.aio_lio_opcode = IOCB_CMD_PREAD,
					.aio_fildes = (uint32_t)data,
					.aio_buf = (uintptr_t)memory + page * HELD_PAGE,
					.aio_nbytes = HELD_PAGE,
					.aio_offset = (int64_t)page * HELD_PAGE };
		struct iocb *requests = &request;

		assert_int_equal(syscall(SYS_io_submit, ring, 1, &requests), 1);
	}
}

static void finish(aio_context_t ring, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct io_event event;

		assert_int_equal(syscall(SYS_io_getevents, ring, 1, 1, &event, NULL), 1);
		assert_int_equal(event.res, HELD_PAGE);
		assert_int_equal(memory[event.data * HELD_PAGE], held_byte((unsigned int)event.data));
	}
}

/* A file in sysfs, or of a cgroup: returns what was there. */
static const char *set(const char *directory, const char *name, const char *value)
{
	static char before[256];
	char path[192];
	ssize_t len;
	int file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = open(path, O_RDWR | O_CLOEXEC);
	assert_true(file >= 0);
	len = read(file, before, sizeof(before) - 1);
	assert_true(len >= 0);
	before[len] = '\0';
	assert_int_equal(write(file, value, strlen(value)), strlen(value));
	close(file);
	return before;
}

/* The ninth number of its "stat", and the first one of its "inflight". */
static void count(unsigned int *all, unsigned int *started)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/stat", disk.sysfs);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %*u %*u %*u %*u %*u %*u %*u %u", all), 1);
	fclose(file);
	snprintf(path, sizeof(path), "%s/inflight", disk.sysfs);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%u", started), 1);
	fclose(file);
}

static void it_takes_a_context_and_a_direct_file(void **state)
{
	const int buffered = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	const int direct = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
	aio_context_t ring;
	struct reason why;

	(void)state;
	if (direct < 0) {
		print_message("no O_DIRECT here\n");
		skip();
	}
	assert_true(possible(&why));
	assert_non_null(strstr(why.text, "O_DIRECT"));
	assert_false(under_way(&why));
	close(direct);
	assert_false(possible(&why));
	ring = begin_aio();
	assert_false(under_way(&why));
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(buffered);
}

static void an_io_uring_is_enough(void **state)
{
	char maps[] = "7000-8000 rw-s 00000000 00:10 8                          anon_inode:[io_uring]\n";
	struct areas areas = { .text = maps };
	struct reason why;

	(void)state;
	assert_true(direct_io_possible(getpid(), &areas, &why));
	assert_non_null(strstr(why.text, "io_uring"));
	assert_true(direct_io_under_way(getpid(), &areas, &why));
	assert_non_null(strstr(why.text, "io_uring"));
}

static void what_cannot_be_seen_is_possible(void **state)
{
	const aio_context_t ring = begin_aio();
	struct reason why;

	(void)state;
	assert_true(ask(direct_io_possible, INT32_MAX, &why)); /* no such task */
	assert_non_null(strstr(why.text, "cannot see"));
	assert_true(ask(direct_io_under_way, INT32_MAX, &why));
	assert_non_null(strstr(why.text, "cannot see"));
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
}

static void a_quiet_disk_has_no_read_under_way(void **state)
{
	const int data = open_data();
	const aio_context_t ring = begin_aio();
	struct reason why;

	(void)state;
	assert_false(under_way(&why));
	assert_true(possible(&why)); /* if it ran */
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(data);
}

static void a_read_that_was_submitted_is_under_way_until_it_ends(void **state)
{
	const int data = open_data();
	const aio_context_t ring = begin_aio();
	struct reason why;

	(void)state;
	held_disk_hold(&disk, true);
	submit(ring, data, 1);
	assert_true(under_way(&why));
	assert_non_null(strstr(why.text, "not seen without requests"));
	held_disk_hold(&disk, false);
	finish(ring, 1);
	assert_false(under_way(&why));
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(data);
}

/* What the number is called after, requests that the driver has, would not be enough. */
static void reads_that_the_scheduler_has_are_counted(void **state)
{
	const int data = open_data();
	const aio_context_t ring = begin_aio();
	unsigned int all, started;

	(void)state;
	set(disk.sysfs, "queue/scheduler", "mq-deadline");
	held_disk_hold(&disk, true);
	submit(ring, data, MANY);
	count(&all, &started);
	held_disk_hold(&disk, false);
	finish(ring, MANY);
	set(disk.sysfs, "queue/scheduler", "none");
	assert_int_equal(all, MANY);
	assert_true(started < MANY);
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(data);
}

static void a_disk_that_does_not_count_is_in_doubt(void **state)
{
	static const char *const attributes[][3] = { { "queue/iostats", "0", "1" },
						     { "queue/stable_writes", "1", "0" } };
	const int data = open_data();
	const aio_context_t ring = begin_aio();

	(void)state;
	for (size_t i = 0; i < sizeof(attributes) / sizeof(*attributes); i++) {
		struct reason why;
		bool doubt;

		set(disk.sysfs, attributes[i][0], attributes[i][1]);
		doubt = under_way(&why);
		set(disk.sysfs, attributes[i][0], attributes[i][2]);
		assert_true(doubt);
		assert_non_null(strstr(why.text, attributes[i][0]));
		assert_false(under_way(&why));
	}
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(data);
}

/* Reads beyond it wait where nobody counts them; and the task may have left that cgroup since. */
static void a_limit_of_any_cgroup_is_in_doubt(void **state)
{
	const bool unified = access("/sys/fs/cgroup/blkio", F_OK) != 0;
	const char *parent = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/blkio";
	const int data = open_data();
	const aio_context_t ring = begin_aio();
	char directory[64], limit[64], number[16];
	struct reason why;
	bool doubt;

	(void)state;
	snprintf(directory, sizeof(directory), "%s/pagescan-limit.%d", parent, getpid());
	snprintf(number, sizeof(number), "7:%s", strrchr(disk.sysfs, 'p') + 1);
	if (mkdir(directory, 0700)) {
		print_message("needs cgroups that can be made, with the io controller\n");
		skip();
	}
	assert_false(under_way(&why));
	snprintf(limit, sizeof(limit), unified ? "%s rbps=1048576" : "%s 1048576", number);
	if (unified)
		set(parent, "cgroup.subtree_control", "+io");
	set(directory, unified ? "io.max" : "blkio.throttle.read_bps_device", limit);
	doubt = under_way(&why);
	rmdir(directory);
	assert_true(doubt);
	assert_non_null(strstr(why.text, "cgroup"));
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
	close(data);
}

static void other_filesystems_are_in_doubt(void **state)
{
	const aio_context_t ring = begin_aio();
	struct reason why;
	char path[96];
	int file;

	(void)state;
	close(open_data());
	snprintf(path, sizeof(path), "%s.tmpfs", disk.directory);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
	file = open(path, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (file < 0) /* before 6.6 */
		file = open("/dev/zero", O_RDONLY | O_DIRECT | O_CLOEXEC);
	assert_true(file < 0 || under_way(&why));
	close(file);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	rmdir(path);
	assert_int_equal(syscall(SYS_io_destroy, ring), 0);
}

static int setup(void **state)
{
	char directory[] = "/tmp/pagescan.disk.XXXXXX";
	int *hold;

	(void)state;
	memory = mmap(NULL, HELD_PAGES * HELD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hold = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	have_disk = !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && mkdtemp(directory) &&
		    held_disk_make(&disk, directory, hold);
	return memory == MAP_FAILED || hold == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	if (have_disk)
		held_disk_end(&disk);
	return disk.directory[0] ? rmdir(disk.directory) : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_takes_a_context_and_a_direct_file),
		cmocka_unit_test(an_io_uring_is_enough),
		cmocka_unit_test(what_cannot_be_seen_is_possible),
		cmocka_unit_test(a_quiet_disk_has_no_read_under_way),
		cmocka_unit_test(a_read_that_was_submitted_is_under_way_until_it_ends),
		cmocka_unit_test(reads_that_the_scheduler_has_are_counted),
		cmocka_unit_test(a_disk_that_does_not_count_is_in_doubt),
		cmocka_unit_test(a_limit_of_any_cgroup_is_in_doubt),
		cmocka_unit_test(other_filesystems_are_in_doubt),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
