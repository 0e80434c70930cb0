// SPDX-License-Identifier: GPL-2.0-only
/*
 * device.c - answer CRIU's three acts (is tracking there, read, reset) and see its images complete. Calls round,
 * parents, snapshot, slots, smaps, verify, identity, memory, CRIU's log, libc.
 *
 * Rules: what is not one of these acts goes to libc untouched, errno included; on a kernel without soft-dirty no
 * answer about a task may come from the kernel alone, since its missing soft-dirty bits would read as clean.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "device.h"
#include "log.h"
#include "parents.h"
#include "round.h"
#include "smaps.h"
#include "track/identity.h"
#include "track/memory.h"
#include "verify.h"

/*
 * Descriptors of CRIU's that lead to the tracker. A number may be closed and used again without our seeing it, so the
 * file behind it is compared before it is believed.
 */
enum kind { PAGEMAP, CLEAR_REFS };

struct node {
	bool used;
	enum kind kind;
	int fd;
	int pid;
	dev_t dev;
	ino_t ino;
};

#define NODES 64

static struct {
	struct pagescan_kernel kernel;
	bool detect;
	bool told; /* CRIU's own test has seen that tracking is there */
	bool pre_dump;
	unsigned int next;
	struct node nodes[NODES];
} device;

static int node_add(int fd, enum kind kind, int pid)
{
	struct node *node = NULL;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	for (size_t i = 0; i < NODES && !node; i++) {
		if (device.nodes[i].used && device.nodes[i].fd == fd)
			node = &device.nodes[i];
	}
	/* CRIU holds a handful of these open at a time; the oldest of 64 is long closed. */
	if (!node)
		node = &device.nodes[device.next++ % NODES];
	*node = (struct node){ true, kind, fd, pid, st.st_dev, st.st_ino };
	return 0;
}

/*
 * *found is NULL where the descriptor is not such a one. Returns -1, with errno, where it may be one and cannot be
 * told: CRIU's call has to fail then, as the bare kernel's answer could call a written page clean.
 */
static int node_find(int fd, enum kind kind, const struct node **found)
{
	*found = NULL;
	for (size_t i = 0; i < NODES && !*found; i++) {
		struct node *node = &device.nodes[i];
		struct stat st;

		if (!node->used || node->fd != fd || node->kind != kind)
			continue;
		if (fstat(fd, &st)) {
			int saved = errno;

			pr_warn("cannot tell what criu's descriptor %d is: %s\n", fd, strerror(saved));
			errno = saved;
			return -1;
		}
		if (st.st_dev == node->dev && st.st_ino == node->ino)
			*found = node;
		else
			node->used = false;
	}
	return 0;
}

/* Is the answer about this process ours to give? With soft-dirty in the kernel a task that we do not track is not. */
static bool is_ours(const struct node *node, struct round_task **task)
{
	if (node->pid == getpid())
		return false;
	*task = round_find(node->pid);
	if (!device.kernel.soft_dirty)
		return true;
	return *task && (*task)->visible && (*task)->tracker.uffd >= 0;
}

static struct snapshot *snapshot_of(struct round_task *task)
{
	return task && task->visible && !task->reset ? &task->tracker.snapshot : NULL;
}

/*
 * CRIU opened @name in @dir. Only files right in a process's directory of a proc filesystem are of interest. *seized is
 * the task that was taken into the round by that, NULL for none. Returns 0, or a negative errno if one of the files
 * cannot be told to be what it is.
 */
static int opened(int fd, int dir, const char *name, struct round_task **seized)
{
	struct identity id;
	struct statfs fs;
	int err;

	*seized = NULL;
	if (!strcmp(name, CRIU_STATS_DUMP)) {
		round_commit();
		return 0;
	}
	if (strcmp(name, "smaps") && strcmp(name, "pagemap") && strcmp(name, "clear_refs"))
		return 0;
	err = fstatfs(fd, &fs) ? -errno : 0;
	if (!err && fs.f_type != PROC_SUPER_MAGIC)
		return 0;
	if (!err)
		err = identity_read(dir, &id);
	if (!err && *name == 's')
		*seized = round_task_seized(dir, &id, &device.kernel);
	else if (!err)
		err = node_add(fd, *name == 'p' ? PAGEMAP : CLEAR_REFS, id.pid);
	if (err)
		pr_warn("cannot tell whose %s criu opened: %s\n", name, strerror(-err));
	/* Without its smaps a task is not tracked, and so all of it is dirty. */
	return *name == 's' ? 0 : err;
}

/* The task was seized just now: its areas are as its snapshot has them. */
static int cheaper_smaps(const struct round_task *seized, int fd)
{
	int cheaper = seized->visible ? smaps_open(&seized->tracker.id, seized->tracker.snapshot.areas.text) : -1;

	if (cheaper < 0)
		return fd;
	close(fd);
	return cheaper;
}

/* open(2): with these flags there is a mode argument. O_TMPFILE shares a bit with O_DIRECTORY. */
static bool takes_mode(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

static bool creates(int flags)
{
	return (flags & O_CREAT) && (flags & O_ACCMODE) != O_RDONLY;
}

/* In a dump CRIU opened an image of memory: one that it writes, or to ask the parents about clean pages. */
static void image_opened(int fd, int dir, const char *name, int flags)
{
	unsigned int id;
	int pid, end = 0;

	if (sscanf(name, CRIU_PAGEMAP, &pid, &end) == 1 && end && !name[end]) {
		if (creates(flags))
			round_pagemap_opened(fd, pid);
		else
			parents_pagemap_opened(fd, dir, pid);
	} else if (!creates(flags) && sscanf(name, CRIU_PAGES, &id, &end) == 1 && end && !name[end]) {
		parents_pages_opened(dir, flags);
	}
}

static int device_openat(int dir, const char *name, int flags, ...)
{
	struct round_task *seized = NULL;
	mode_t mode = 0;
	va_list args;
	int fd, saved, err = 0;

	va_start(args, flags);
	if (takes_mode(flags))
		mode = va_arg(args, mode_t);
	va_end(args);

	if (creates(flags) && !strcmp(name, CRIU_INVENTORY)) {
		err = round_complete();
		if (err) {
			errno = -err;
			return -1;
		}
	}
	fd = openat(dir, name, flags, mode);
	/* Its mode is 0200, and CRIU would read, too (criu/mem.c, do_task_reset_dirty_track): only root may do that. */
	if (fd < 0 && errno == EACCES && !strcmp(name, "clear_refs"))
		fd = openat(dir, name, (flags & ~O_ACCMODE) | O_WRONLY);
	saved = errno;
	if (fd >= 0 && !device.pre_dump)
		image_opened(fd, dir, name, flags);
	if (fd >= 0 && (strcmp(name, CRIU_STATS_DUMP) || (flags & O_ACCMODE) != O_RDONLY))
		err = opened(fd, dir, name, &seized);
	if (err) {
		close(fd);
		fd = -1;
		saved = -err;
	}
	if (seized)
		fd = cheaper_smaps(seized, fd);
	errno = saved;
	return fd;
}

/* Does a question by ioctl speak of soft-dirty? CRIU has others, for guard pages from 4.2 on. */
static bool is_about_tracking(const struct pagescan_ioctl_arg *arg)
{
	return (arg->category_mask | arg->category_anyof_mask | arg->return_mask) & PAGESCAN_SOFT_DIRTY;
}

/* CRIU's question by ioctl: from the snapshot, or in doubt the kernel's answer with every page dirty. */
static int scan(int fd, struct pagescan_ioctl_arg *arg, struct round_task *task)
{
	struct snapshot *snapshot = snapshot_of(task);
	struct pagescan_region *vec = (struct pagescan_region *)(uintptr_t)arg->vec;
	int nr = snapshot ? snapshot_scan(snapshot, arg) : -ENOENT;

	if (nr >= 0 && (arg->return_mask & PAGESCAN_SOFT_DIRTY) && verify_answer(task, vec, (size_t)nr)) {
		errno = EIO;
		return -1;
	}
	if (nr >= 0)
		return (int)round_omit(task, vec, (size_t)nr);
	if (snapshot)
		pr_warn("%d: no answer from the snapshot for %llx-%llx, its pages count as written: %s\n",
			task->tracker.id.pid, (unsigned long long)arg->start, (unsigned long long)arg->end,
			strerror(-nr));
	if (!device.kernel.soft_dirty && (arg->category_mask | arg->category_anyof_mask) & PAGESCAN_SOFT_DIRTY) {
		pr_warn("criu asks for written pages alone, which it did not up to 4.2\n");
		errno = EOPNOTSUPP;
		return -1;
	}
	nr = ioctl(fd, PAGESCAN_IOCTL, arg);
	for (int i = 0; i < nr; i++)
		vec[i].categories |= arg->return_mask & PAGESCAN_SOFT_DIRTY;
	return nr;
}

static int device_ioctl(int fd, unsigned long request, ...)
{
	struct round_task *task = NULL;
	const struct node *node;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	if (request == PAGESCAN_IOCTL && is_about_tracking(arg)) {
		if (node_find(fd, PAGEMAP, &node))
			return -1;
		/* A pagemap that was opened in some other way: whose it is we do not know. */
		if (node ? is_ours(node, &task) : !device.kernel.soft_dirty)
			return scan(fd, arg, task);
	}
	return ioctl(fd, request, arg);
}

/* The same question by pread, by a CRIU that does not use the ioctl. */
static ssize_t device_pread(int fd, void *buf, size_t size, off_t offset)
{
	struct round_task *task = NULL;
	struct snapshot *snapshot;
	const struct node *node;
	uint64_t *pme = buf;
	ssize_t got;

	if (node_find(fd, PAGEMAP, &node))
		return -1;
	if (!node || !is_ours(node, &task))
		return pread(fd, buf, size, offset);

	got = pread(fd, buf, size, offset);
	if (got <= 0)
		return got;
	snapshot = snapshot_of(task);
	if (!snapshot || offset % 8 ||
	    snapshot_patch(snapshot, (uint64_t)offset / 8, pme, (size_t)got / sizeof(*pme))) {
		for (size_t i = 0; i < (size_t)got / sizeof(*pme); i++)
			pme[i] |= PME_SOFT_DIRTY;
	} else if (verify_entries(task, (uint64_t)offset / 8, pme, (size_t)got / sizeof(*pme))) {
		errno = EIO;
		return -1;
	}
	return got;
}

/* CRIU looks whether its own page, just written, is marked (criu/kerndat.c, kerndat_get_dirty_track). */
static ssize_t device_read(int fd, void *buf, size_t size)
{
	ssize_t got = read(fd, buf, size);
	const struct node *node;
	int saved = errno;
	uint64_t pme;

	if (got == sizeof(pme) && device.detect && !device.kernel.soft_dirty) {
		if (node_find(fd, PAGEMAP, &node))
			return -1;
		if (node && node->pid == getpid()) {
			memcpy(&pme, buf, sizeof(pme));
			pme |= PME_SOFT_DIRTY;
			memcpy(buf, &pme, sizeof(pme));
			device.told = true;
		}
	}
	errno = saved;
	return got;
}

static ssize_t device_write(int fd, const void *buf, size_t size)
{
	struct round_task *task = NULL;
	const struct node *node = NULL;

	if (size && size <= 2 && *(const char *)buf == '4' && node_find(fd, CLEAR_REFS, &node))
		return -1;
	if (!node)
		return write(fd, buf, size);

	/* A kernel without soft-dirty refuses the reset of CRIU's own test; ours needs none. */
	if (node->pid == getpid())
		return device.detect && !device.kernel.soft_dirty ? (ssize_t)size : write(fd, buf, size);
	if (!is_ours(node, &task))
		return write(fd, buf, size);
	if (task)
		round_reset(task);
	else
		pr_warn("%d: cannot be tracked, its memory is dumped in full: criu has not opened its smaps, or does "
			"not trace it\n",
			node->pid);
	return (ssize_t)size;
}

/* Room for all that is read is what CRIU has (criu/page-xfer.c, page_xfer_predump_pages). */
static bool has_room(const struct iovec *local, const struct iovec *remote, unsigned long nr_remote)
{
	size_t bytes = 0;

	for (unsigned long i = 0; i < nr_remote; i++)
		bytes += remote[i].iov_len;
	return bytes <= local->iov_len;
}

/* As process_vm_readv(2), but the task stays as it is (memory.h). Where that cannot be, the call itself tells. */
static ssize_t read_gently(pid_t pid, const struct iovec *local, const struct iovec *remote, unsigned long nr_remote)
{
	ssize_t got = -ENOSYS;
	int dir = identity_open(pid), fd = dir < 0 ? -1 : memory_open(dir);

	if (fd >= 0) {
		got = memory_read(fd, local->iov_base, remote, nr_remote);
		close(fd);
	}
	if (dir >= 0)
		close(dir);
	if (got >= 0)
		return got;
	if (got != -EFAULT && got != -ESRCH)
		return process_vm_readv(pid, local, 1, remote, nr_remote, 0);
	errno = (int)-got;
	return -1;
}

/*
 * Read-mode pre-dumps copy memory after the task runs again. CRIU drops a page that it could not read from the images
 * (criu/page-xfer.c, handle_faulty_iov), calling again until the bad page is the first one of a failing call.
 */
static ssize_t device_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long nr_local,
				       const struct iovec *remote, unsigned long nr_remote, unsigned long flags)
{
	ssize_t got = nr_local == 1 && !flags && has_room(local, remote, nr_remote) ?
			      read_gently(pid, local, remote, nr_remote) :
			      process_vm_readv(pid, local, nr_local, remote, nr_remote, flags);
	struct round_task *task = got > 0 ? round_find(pid) : NULL;
	int saved = errno;

	if (task)
		task->copied = true;
	if (got < 0 && nr_remote) {
		uint64_t page = (uintptr_t)remote[0].iov_base & ~(pagescan_page_size() - 1);

		round_not_read(pid, page, page + pagescan_page_size());
	}
	errno = saved;
	return got;
}

/*
 * CRIU keeps what it found out about the kernel in /run/criu.kdat. Plain criu must not believe in the tracking that
 * it saw through us, nor we miss it because plain criu was there first.
 */
static const char *cache_path(const char *path, char room[64])
{
	const char *name = path ? strrchr(path, '/') : NULL;

	if (!name || strncmp(name + 1, CRIU_KDAT, strlen(CRIU_KDAT)) || !device.detect || device.kernel.soft_dirty)
		return path;
	if (snprintf(room, 64, "%.*s/pagescan-%s", (int)(name - path), path, name + 1) >= 64)
		return path;
	return room;
}

static int device_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	char room[64];
	va_list args;

	va_start(args, flags);
	if (takes_mode(flags))
		mode = va_arg(args, mode_t);
	va_end(args);
	return open(cache_path(path, room), flags, mode);
}

/*
 * CRIU writes its cache anew only after all of its tests. If one of them failed for a moment, such as a read, it would
 * believe for good that there is no tracking, and every pre-dump would end in an abort: that is not worth keeping.
 */
static int device_rename(const char *from, const char *to)
{
	char from_room[64], to_room[64];
	const char *our_from = cache_path(from, from_room);

	if (our_from != from && !device.told) {
		pr_warn("criu could not see that memory is tracked, its next run looks again\n");
		unlink(our_from);
		errno = EAGAIN;
		return -1;
	}
	return rename(our_from, cache_path(to, to_room));
}

static int device_unlink(const char *path)
{
	char room[64];

	return unlink(cache_path(path, room));
}

void device_set_pre_dump(bool pre_dump)
{
	device.pre_dump = pre_dump;
}

const char *device_install(const struct elf *elf, const struct pagescan_kernel *kernel, bool detect)
{
	/* With 64-bit file offsets glibc has two names for one function; other C libraries have the short one only. */
	struct slot slots[] = {
		{ .name = "openat64", .alias = "openat", .function = device_openat },
		{ .name = "ioctl", .function = device_ioctl },
		{ .name = "write", .function = device_write },
		{ .name = "read", .function = device_read },
		{ .name = "pread64", .alias = "pread", .function = device_pread },
		{ .name = "process_vm_readv", .function = device_process_vm_readv },
		{ .name = "open64", .alias = "open", .function = device_open },
		{ .name = "rename", .function = device_rename },
		{ .name = "unlink", .function = device_unlink },
	};
	static char missing[64];
	size_t nr = sizeof(slots) / sizeof(*slots);

	device.kernel = *kernel;
	device.detect = detect;
	if (slots_find(elf, slots, nr))
		return "the executable has no dynamic section that can be used";
	for (size_t i = 0; i < nr; i++) {
		if (!slots[i].found) {
			snprintf(missing, sizeof(missing), "the executable does not import %s", slots[i].name);
			return missing;
		}
	}
	return slots_bind(elf, slots, nr) ? "the executable's import slots cannot be written" : NULL;
}
