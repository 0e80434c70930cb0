// SPDX-License-Identifier: GPL-2.0-only
/*
 * parents.c - the pagemaps of parent images. Calls entries, CRIU's log, libc.
 *
 * How CRIU opens a chain (criu/pagemap.c, open_page_read_at, as in 4.0 to 4.2): a pagemap, of which it reads the head by a
 * buffer; all of that for the next older directory; the file of pages, for writing if it removes from the parents what the
 * new images have (--auto-dedup), which the pagemap's own flags do not tell; and then the entries. So a pagemap is
 * exchanged when its pages are opened. What CRIU has in its buffer stays: the new file begins with the same messages.
 * Should CRIU look at pages of parents in a way that is not known here, it finds that they refer to an older parent, and
 * none there: it fails.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "log.h"
#include "parents.h"
#include "same_file.h"

/* A file as it was read. */
struct pagemap {
	struct stat id;
	struct image_entries entries;
	struct pagemap *next;
};

static struct pagemap *pagemaps;

/* Pagemaps that CRIU has opened on its way to the oldest one, the next parent's first. More than that are left alone. */
#define DEPTH 64

static struct {
	int pid; /* whose; 0: nobody's are expected */
	size_t nr;
	struct {
		int fd;
		struct stat dir;
	} v[DEPTH];
} chain;

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
	return is_same_file(a, b) && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static const struct image_entries *find(const struct stat *id)
{
	for (const struct pagemap *pagemap = pagemaps; pagemap; pagemap = pagemap->next) {
		if (is_unchanged(&pagemap->id, id))
			return &pagemap->entries;
	}
	return NULL;
}

static int read_pagemap(int fd, const struct stat *id, const struct image_entries **entries)
{
	struct pagemap *pagemap = calloc(1, sizeof(*pagemap));
	int err = pagemap ? image_entries_read(fd, &pagemap->entries) : -ENOMEM;

	if (err) {
		free(pagemap);
		return err;
	}
	image_entries_merge(&pagemap->entries);
	pagemap->id = *id;
	pagemap->next = pagemaps;
	pagemaps = pagemap;
	*entries = &pagemap->entries;
	return 0;
}

int parents_entries(int dir, int pid, const struct image_entries **entries)
{
	char name[32], path[64];
	struct stat id;
	int fd, err;

	image_pagemap_name(name, pid);
	snprintf(path, sizeof(path), CRIU_PARENT_LINK "/%s", name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &id) ? -errno : 0;
	*entries = err ? NULL : find(&id);
	if (!err && !*entries)
		err = read_pagemap(fd, &id, entries);
	close(fd);
	return err;
}

void parents_read(int dir)
{
	DIR *list = image_list(dir, CRIU_PARENT_LINK);
	const struct image_entries *entries;
	const struct dirent *entry;

	while (list && (entry = readdir(list))) {
		const int pid = image_pagemap_pid(entry->d_name);

		if (pid)
			(void)parents_entries(dir, pid, &entries);
	}
	if (list)
		closedir(list);
}

void parents_expect(int pid)
{
	chain.pid = pid;
	chain.nr = 0;
}

void parents_pagemap_opened(int fd, int dir, int pid)
{
	if (pid == chain.pid && chain.nr < DEPTH && !fstat(dir, &chain.v[chain.nr].dir))
		chain.v[chain.nr++].fd = fd;
	else
		parents_expect(0);
}

/* Of @entries, which may be none, CRIU shall know what they have. Its @fd leads to another file afterwards. */
static int exchange(int fd, const struct image_entries *entries)
{
	const off_t read = lseek(fd, 0, SEEK_CUR);
	const int flags = fcntl(fd, F_GETFD);
	struct stat st;
	int err, other;

	if (read < 0 || flags < 0 || fstat(fd, &st))
		return -errno;
	if (st.st_size <= read)
		return 0;
	other = memfd_create("pagemap", MFD_CLOEXEC);
	if (other < 0)
		return -errno;
	err = image_entries_shorten(fd, (size_t)read, entries, other);
	if (!err && (lseek(other, read, SEEK_SET) < 0 || dup3(other, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0))
		err = -errno;
	close(other);
	return err;
}

void parents_pages_opened(int dir, int flags)
{
	const struct image_entries *entries = NULL;
	struct stat id;
	int fd, err;

	if (!chain.nr)
		return;
	fd = chain.v[--chain.nr].fd;
	if ((flags & O_ACCMODE) != O_RDONLY || fstat(dir, &id) || !is_same_file(&id, &chain.v[chain.nr].dir)) {
		parents_expect(0);
		return;
	}
	/* The next parent's is the last one, and that of nobody who was not read. */
	if (!chain.nr) {
		parents_expect(0);
		entries = fstat(fd, &id) ? NULL : find(&id);
		if (!entries)
			return;
	}
	err = exchange(fd, entries);
	if (err)
		pr_info("criu reads all of a parent's pagemap while all is frozen, it cannot be made short: %s\n",
			strerror(-err));
}

void parents_forget(void)
{
	parents_expect(0);
	while (pagemaps) {
		struct pagemap *pagemap = pagemaps;

		pagemaps = pagemap->next;
		image_entries_fini(&pagemap->entries);
		free(pagemap);
	}
}
