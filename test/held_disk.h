/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * held_disk.h - a disk whose reads take as long as a test wants: a loop device, with an ext4 on it, whose file is a
 * FUSE filesystem of its own. Needs root, and mkfs.ext4. All of it is gone when the process ends that made it.
 */
#ifndef HELD_DISK_H
#define HELD_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELD_PAGE      4096
#define HELD_PAGES     1024 /* of the file; page i is full of the byte held_byte(i) */
#define HELD_DISK_SIZE (32L << 20)

struct held_disk {
	int *hold;	    /* while that is not 0 no read ends */
	char directory[64]; /* the filesystem, read-only, with the file "data" */
	char sysfs[64];	    /* the disk's */
	pid_t server;
};

static inline char held_byte(unsigned int page)
{
	return (char)(page % 250 + 1);
}

static inline void held_reply(int fuse, uint64_t unique, int err, const void *data, size_t size)
{
	static char reply[sizeof(struct fuse_out_header) + (256 << 10)];
	struct fuse_out_header head = { (uint32_t)(sizeof(head) + size), -err, unique };

	memcpy(reply, &head, sizeof(head));
	memcpy(reply + sizeof(head), data, size);
	(void)!write(fuse, reply, sizeof(head) + size);
}

static inline void held_read(int fuse, int image, const int *hold, uint64_t unique, const struct fuse_read_in *what)
{
	static char data[256 << 10];
	ssize_t len;

	while (__atomic_load_n(hold, __ATOMIC_SEQ_CST))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	len = pread(image, data, what->size < sizeof(data) ? what->size : sizeof(data), (off_t)what->offset);
	held_reply(fuse, unique, len < 0 ? EIO : 0, data, len < 0 ? 0 : (size_t)len);
}

/* Its root is the one file there is. */
static inline void held_serve(int fuse, int image, const int *hold)
{
	static char request[(256 << 10) + 4096];
	const struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
					    .minor = FUSE_KERNEL_MINOR_VERSION,
					    .max_write = 4096 };
	const struct fuse_attr_out attr = { .attr_valid = 3600,
					    .attr = { .ino = FUSE_ROOT_ID,
						      .size = HELD_DISK_SIZE,
						      .blocks = HELD_DISK_SIZE / 512,
						      .mode = S_IFREG | 0600,
						      .nlink = 1,
						      .blksize = HELD_PAGE } };
	const struct fuse_open_out open = { 0 };

	for (;;) {
		const struct fuse_in_header *in = (const void *)request;
		const ssize_t len = read(fuse, request, sizeof(request));

		if (len < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (len < 0)
			_exit(0);
		if (in->opcode == FUSE_INIT)
			held_reply(fuse, in->unique, 0, &init, sizeof(init));
		else if (in->opcode == FUSE_GETATTR)
			held_reply(fuse, in->unique, 0, &attr, sizeof(attr));
		else if (in->opcode == FUSE_OPEN)
			held_reply(fuse, in->unique, 0, &open, sizeof(open));
		else if (in->opcode == FUSE_READ)
			held_read(fuse, image, hold, in->unique, (const void *)(in + 1));
		else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && in->opcode != FUSE_INTERRUPT)
			held_reply(fuse, in->unique, ENOSYS, "", 0);
	}
}

/* An ext4 with the file in it, of which the first half of the memory is. Returns a descriptor or -1. */
static inline int held_image(void)
{
	char source[] = "/tmp/pagescan.held.XXXXXX", path[64], command[256], page[HELD_PAGE];
	const int image = memfd_create("held", 0); /* mkfs inherits it */
	bool good;
	int data;

	if (image < 0 || ftruncate(image, HELD_DISK_SIZE) || !mkdtemp(source))
		return -1;
	snprintf(path, sizeof(path), "%s/data", source);
	data = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	good = data >= 0;
	for (unsigned int i = 0; good && i < HELD_PAGES; i++) {
		memset(page, held_byte(i), sizeof(page));
		good = write(data, page, sizeof(page)) == sizeof(page);
	}
	close(data);
	snprintf(command, sizeof(command), "mkfs.ext4 -q -F -O ^has_journal -d %s /proc/self/fd/%d >/dev/null 2>&1",
		 source, image);
	good = good && !system(command);
	unlink(path);
	rmdir(source);
	return good ? image : -1;
}

/* A loop device over the file, that goes with its last user. Returns it open, or -1. */
static inline int held_loop(const char *path, struct held_disk *disk)
{
	struct loop_config config = { .info = { .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR } };
	const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	const int file = open(path, O_RDONLY | O_CLOEXEC);
	char device[32];
	int number, loop = -1;

	/* Somebody else may take the free one first, or udev look at it. */
	for (int tries = 0; control >= 0 && file >= 0 && loop < 0 && tries < 100; tries++) {
		number = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(device, sizeof(device), "/dev/loop%d", number);
		snprintf(disk->sysfs, sizeof(disk->sysfs), "/sys/block/loop%d", number);
		loop = open(device, O_RDONLY | O_CLOEXEC);
		config.fd = (uint32_t)file;
		if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config)) {
			close(loop);
			loop = -1;
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		}
	}
	close(file);
	close(control);
	return loop;
}

/*
 * Makes the disk, and mounts it on the @directory, which is there; *hold is memory shared with whoever shall know. In a
 * mount namespace that ends with the process, or else held_disk_end(). False if there cannot be one here.
 */
static inline bool held_disk_make(struct held_disk *disk, const char *directory, int *hold)
{
	char options[96], device[32], file[96];
	const int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int image, loop;
	bool made;

	snprintf(disk->directory, sizeof(disk->directory), "%s", directory);
	snprintf(file, sizeof(file), "%s.disk", directory);
	disk->hold = hold;
	image = held_image();
	if (fuse < 0 || image < 0)
		return false;
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0", fuse);
	made = !mount("held", file, "fuse", MS_NOSUID | MS_NODEV, options);
	disk->server = made ? fork() : -1;
	if (!disk->server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		held_serve(fuse, image, disk->hold);
	}
	close(image);
	close(fuse); /* a server that ends takes the reads with it */
	loop = disk->server > 0 ? held_loop(file, disk) : -1;
	made = loop >= 0;
	if (made) {
		snprintf(device, sizeof(device), "/dev/%s", strrchr(disk->sysfs, '/') + 1);
		made = !mount(device, disk->directory, "ext4", MS_RDONLY, NULL);
		close(loop);
	}
	umount2(file, MNT_DETACH);
	unlink(file);
	return made;
}

static inline void held_disk_hold(const struct held_disk *disk, bool hold)
{
	__atomic_store_n(disk->hold, hold, __ATOMIC_SEQ_CST);
}

static inline void held_disk_end(const struct held_disk *disk)
{
	held_disk_hold(disk, false);
	umount2(disk->directory, MNT_DETACH);
	if (disk->server <= 0)
		return;
	kill(disk->server, SIGKILL);
	waitpid(disk->server, NULL, 0);
}

#endif
