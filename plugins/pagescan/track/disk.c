// SPDX-License-Identifier: GPL-2.0-only
/*
 * disk.c - wait for a disk to have no requests. Calls limits, mounts.
 *
 * The proof is this, and each step was read in the kernel's source, 6.12 and 7.2:
 * - A direct read of a regular file on ext4 or xfs makes its bios and hands them to the block layer before io_submit(2)
 *   returns (fs/iomap/direct-io.c), so in a frozen task it has. The bios are for the device that is mounted; the realtime
 *   device of an xfs is another one.
 * - In a disk that has requests (it has "mq" in sysfs) a bio becomes part of a request at once (block/blk-mq.c,
 *   blk_mq_submit_bio), unless a limit holds it back (limits.h). Drivers without requests, such as dm and md, may keep bios
 *   as they like and count them later.
 * - Where queue/iostats is on, a request is counted when it has got its first bio (blk_account_io_start), before any plug,
 *   scheduler or driver, until its data is in memory (blk_account_io_done follows bio_endio). Switching iostats on waits
 *   for all requests that were not counted.
 * - That count is the ninth number of "stat". The documentation says that it leaves out what the scheduler has: that is
 *   true of "inflight" (blk_mq_in_driver_rw), which is useless here, and not of "stat" since 6.10 (bdev_count_inflight).
 * - What a request counts for is its first bio's partition. A neighbour's bio may be merged into it (blk_rq_merge_ok does
 *   not look), so all partitions of the disk have to be seen without requests, each one once.
 * - After that nothing writes the data to memory: but for files that the kernel decrypts when they have been read
 *   (block/blk-crypto-fallback.c), and direct reads that go through a buffer where pages must be stable (xfs in 7.2).
 * Kernels after 7.2 may do more of that (7.3 can put off the end of a bio): read them before raising the number.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "limits.h"
#include "mounts.h"

#define KERNEL(major, minor) ((major)*1000U + (minor))
#define FIRST_KERNEL	     KERNEL(6, 12)
#define LAST_KERNEL	     KERNEL(7, 2)

#define WAIT_NS	 10000000UL
#define PAUSE_NS 100000L
#define ALIKE	 3 /* answers */

static uint64_t now_ns(void)
{
	struct timespec now;

	return clock_gettime(CLOCK_MONOTONIC, &now) ? UINT64_MAX :
						      (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int check_kernel(struct reason *why)
{
	unsigned int major, minor;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return reason_set(why, -EINVAL, "cannot tell the kernel's version");
	if (KERNEL(major, minor) < FIRST_KERNEL || KERNEL(major, minor) > LAST_KERNEL)
		return reason_set(why, -EOPNOTSUPP, "what kernel %u.%u counts as under way is not known", major, minor);
	return 0;
}

/* The device that a file is on, "MAJOR:MINOR". */
struct device {
	uint64_t mount;
	char number[32];
	struct reason *why;
};

/* Is it one whose filesystem hands direct reads straight on to it? 1, or a negative errno. */
static int is_mount(void *ctx, const struct mount *mount)
{
	struct device *device = ctx;

	if (mount->id != device->mount)
		return 0;
	if (strcmp(mount->type, "ext4") && strcmp(mount->type, "xfs"))
		return reason_set(device->why, -EOPNOTSUPP, "how %s reads is not known", mount->type);
	if (strstr(mount->options, "rtdev="))
		return reason_set(device->why, -EOPNOTSUPP, "it may be on the realtime device of an xfs");
	snprintf(device->number, sizeof(device->number), "%s", mount->device);
	return 1;
}

static int find_device(int pid, struct device *device)
{
	int err;

	device->why->text[0] = '\0';
	err = mounts_each(pid, is_mount, device);
	if (err > 0)
		return 0;
	if (!device->why->text[0])
		reason_set(device->why, 0, "cannot find its filesystem: %s", err ? strerror(-err) : "not mounted");
	return err ? err : -ENOENT;
}

/* The directory in sysfs of the disk that the device is, or is a partition of. Returns a descriptor or a negative errno. */
static int open_disk(const char *number)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%s/partition", number);
	snprintf(path, sizeof(path), access(path, F_OK) ? "/sys/dev/block/%s" : "/sys/dev/block/%s/..", number);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Read a file in sysfs, without its newline. Returns 0 or a negative errno. */
static int read_attribute(int disk, const char *name, char *text, size_t size)
{
	const int fd = openat(disk, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);
	const int err = len < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (!err) {
		text[len] = '\0';
		text[strcspn(text, "\n")] = '\0';
	}
	return err;
}

static int check_attribute(int disk, const char *name, const char *good, struct reason *why)
{
	char text[32];
	int err = read_attribute(disk, name, text, sizeof(text));

	if (err)
		return reason_set(why, err, "cannot read %s of its disk: %s", name, strerror(-err));
	if (strcmp(text, good))
		return reason_set(why, -EOPNOTSUPP, "%s of its disk is %s, not %s", name, text, good);
	return 0;
}

/* Does the disk count every read from its submission to its end? */
static int check_disk(int disk, struct reason *why)
{
	char number[32];
	int err;

	if (faccessat(disk, "mq", F_OK, 0))
		return reason_set(why, -errno, "its disk is of a kind that may hold reads back uncounted (no mq)");
	err = check_attribute(disk, "queue/iostats", "1", why);
	if (!err)
		err = check_attribute(disk, "queue/stable_writes", "0", why);
	if (err)
		return err;
	err = read_attribute(disk, "dev", number, sizeof(number));
	return err ? reason_set(why, err, "cannot read its disk's number: %s", strerror(-err)) :
		     limits_none(number, why);
}

/*
 * The count is a sum over processors, which are looked at one after the other: a request that comes on one and ends on
 * another may be missed where it came and be taken off where it ended, and hide one of ours. But whatever is taken off
 * adds to other numbers of the line first. So zero is believed between two lines that are the same.
 * Returns 0, -EBUSY, or another negative errno.
 */
static int wait_for_zero(int stat, uint64_t deadline)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	char line[2][512] = { "", "" };
	unsigned int alike = 0;

	for (unsigned int at = 0;; at = !at) {
		const ssize_t len = pread(stat, line[at], sizeof(line[at]) - 1, 0);
		unsigned long in_flight;

		if (len < 0)
			return -errno;
		line[at][len] = '\0';
		if (sscanf(line[at], "%*u %*u %*u %*u %*u %*u %*u %*u %lu", &in_flight) != 1)
			return -EIO;
		if (in_flight)
			alike = 0;
		else
			alike = strcmp(line[at], line[!at]) ? 1 : alike + 1;
		if (alike == ALIKE)
			return 0;
		if (!alike && now_ns() >= deadline)
			return -EBUSY;
		if (!alike)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
}

static int settle(int disk, const char *partition, uint64_t deadline)
{
	char name[300];
	int fd, err;

	snprintf(name, sizeof(name), "%s/stat", partition);
	fd = openat(disk, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = wait_for_zero(fd, deadline);
	close(fd);
	return err;
}

/* Takes @disk. */
static int settle_all(int disk, uint64_t deadline)
{
	const struct dirent *entry;
	DIR *dir = fdopendir(disk);
	char name[300];
	int err;

	if (!dir) {
		err = -errno;
		close(disk);
		return err;
	}
	err = settle(disk, ".", deadline);
	while (!err && (errno = 0, entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/partition", entry->d_name);
		if (*entry->d_name == '.')
			continue;
		if (!faccessat(disk, name, F_OK, 0))
			err = settle(disk, entry->d_name, deadline);
		else if (errno != ENOENT && errno != ENOTDIR)
			err = -errno;
	}
	if (!err)
		err = -errno;
	closedir(dir);
	return err;
}

/* Of the filesystem that is mounted by this id. */
static int settle_mount(struct disk_look *look, uint64_t mount, struct reason *why)
{
	struct device device = { .mount = mount, .why = why };
	int err, disk;

	err = check_kernel(why);
	if (!err)
		err = find_device(look->pid, &device);
	if (err)
		return err;
	disk = open_disk(device.number);
	if (disk < 0)
		return reason_set(why, disk, "%s is no disk: %s", device.number, strerror(-disk));
	err = check_disk(disk, why);
	if (err) {
		close(disk);
		return err;
	}
	if (!look->deadline)
		look->deadline = now_ns() + WAIT_NS;
	err = settle_all(disk, look->deadline);
	return err ? reason_set(why, err, "the disk of %s was not seen without requests: %s", device.number,
				strerror(-err)) :
		     0;
}

int disk_settle(struct disk_look *look, const char *fd, struct reason *why)
{
	char path[64];
	struct statx file;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%.10s", look->pid, fd);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, &file))
		return reason_set(why, -errno, "cannot see what descriptor %s is: %s", fd, strerror(errno));
	if (!S_ISREG(file.stx_mode) || !(file.stx_mask & STATX_MNT_ID))
		return reason_set(why, -EOPNOTSUPP, "descriptor %s is not a regular file", fd);
	if (file.stx_attributes & STATX_ATTR_ENCRYPTED)
		return reason_set(why, -EOPNOTSUPP, "descriptor %s is an encrypted file", fd);
	if (look->quiet && look->mount == file.stx_mnt_id)
		return 0;
	err = settle_mount(look, file.stx_mnt_id, why);
	look->quiet = !err;
	look->mount = file.stx_mnt_id;
	return err;
}
