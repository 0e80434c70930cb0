// SPDX-License-Identifier: GPL-2.0-only
/*
 * outline.c - from smaps into an image of our own and back. Calls protobuf-c, the kernel.
 *
 * VmFlags are the only place where the kernel tells whether an area was mapped with MAP_NORESERVE, which no later call
 * can change (fs/proc/task_mmu.c, show_smap_vma_flags).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "land.pb-c.h"
#include "outline.h"

#define FILE_MAX (64L << 20)

static bool has_flag(const char *flags, const char *flag)
{
	for (const char *at = flags; (at = strstr(at, flag)); at += 2) {
		if (at[-1] == ' ' && (at[2] == ' ' || at[2] == '\n' || !at[2]))
			return true;
	}
	return false;
}

static int add(struct outline *outline, const struct pool_range *range)
{
	struct pool_range *v = outline->v;

	if (outline->nr % 64 == 0) {
		v = reallocarray(v, outline->nr + 64, sizeof(*v));
		if (!v)
			return -ENOMEM;
		outline->v = v;
	}
	v[outline->nr++] = *range;
	return 0;
}

/* A line that begins an area. Returns whether it is private memory of nobody's but the process's. */
static bool is_candidate(const char *line, struct pool_range *range)
{
	char rights[5], name[8] = "";
	uint64_t inode;

	*range = (struct pool_range){ 0 };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64 " %7s", &range->start, &range->end, rights,
		   &inode, name) < 4)
		return false;
	if (rights[3] != 'p' || inode || rights[0] != 'r')
		return false;
	return !*name || !strncmp(name, "[heap]", 6) || !strncmp(name, "[anon:", 6);
}

/* Only what `mmap(MAP_PRIVATE | MAP_ANONYMOUS)` makes, perhaps with MAP_NORESERVE: CRIU maps the rest in other ways. */
static bool is_plain(const char *flags)
{
	return !has_flag(flags, "gd") && !has_flag(flags, "lo") && !has_flag(flags, "ht") && !has_flag(flags, "io") &&
	       !has_flag(flags, "pf") && !has_flag(flags, "dp") && !has_flag(flags, "ss");
}

int outline_parse(FILE *file, struct outline *outline)
{
	struct pool_range range;
	bool candidate = false;
	char *line = NULL;
	size_t room = 0;
	int err = 0;

	*outline = (struct outline){ 0 };
	while (!err && getline(&line, &room, file) > 0) {
		if (strchr("0123456789abcdef", *line)) {
			candidate = is_candidate(line, &range);
		} else if (candidate && !strncmp(line, "VmFlags:", 8) && is_plain(line)) {
			range.kind = (has_flag(line, "nr") ? POOL_NORESERVE : 0) |
				     (has_flag(line, "hg") ? POOL_HUGEPAGE : 0);
			err = outline->nr && range.start < outline->v[outline->nr - 1].end ? -EINVAL :
											     add(outline, &range);
		}
	}
	if (!err && ferror(file))
		err = -EIO;
	free(line);
	if (err)
		outline_fini(outline);
	return err;
}

int outline_read(int proc_dir, struct outline *outline)
{
	int fd = openat(proc_dir, "smaps", O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	int err = -errno;

	*outline = (struct outline){ 0 };
	if (!file) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	setvbuf(file, NULL, _IOFBF, 1 << 16);
	err = outline_parse(file, outline);
	fclose(file);
	return err;
}

static void image_name(char name[32], int pid)
{
	snprintf(name, 32, "outline-%d.img", pid);
}

int outline_write(int dir, int pid, const struct outline *outline)
{
	Land__Area *areas = calloc(outline->nr + 1, sizeof(*areas)), **list = calloc(outline->nr + 1, sizeof(*list));
	Land__Outline message = LAND__OUTLINE__INIT;
	uint8_t *data = NULL;
	size_t len = 0;
	char name[32];
	int fd = -1, err = areas && list ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < outline->nr; i++) {
		areas[i] = (Land__Area)LAND__AREA__INIT;
		areas[i].start = outline->v[i].start;
		areas[i].end = outline->v[i].end;
		areas[i].has_kind = outline->v[i].kind != 0;
		areas[i].kind = outline->v[i].kind;
		list[i] = &areas[i];
	}
	message.n_areas = outline->nr;
	message.areas = list;
	if (!err) {
		len = land__outline__get_packed_size(&message);
		data = malloc(len + 1);
		err = data ? 0 : -ENOMEM;
	}
	if (!err) {
		land__outline__pack(&message, data);
		image_name(name, pid);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		err = fd < 0 ? -errno : write(fd, data, len) == (ssize_t)len ? 0 : -ENOSPC;
	}
	if (fd >= 0 && close(fd) < 0 && !err)
		err = -errno;
	free(areas);
	free(list);
	free(data);
	return err;
}

static int unpack(const Land__Outline *message, struct outline *outline)
{
	int err = 0;

	for (size_t i = 0; !err && i < message->n_areas; i++) {
		const Land__Area *area = message->areas[i];
		const struct pool_range range = { area->start, area->end, area->kind };

		if (area->start >= area->end || (area->start | area->end) % 4096 || area->end > 1UL << 56 ||
		    (i && area->start < message->areas[i - 1]->end) || area->kind & ~(POOL_NORESERVE | POOL_HUGEPAGE))
			err = -EBADMSG;
		else
			err = add(outline, &range);
	}
	return err;
}

int outline_load(int dir, int pid, struct outline *outline)
{
	Land__Outline *message = NULL;
	uint8_t *data = NULL;
	struct stat st;
	char name[32];
	int fd, err;

	*outline = (struct outline){ 0 };
	image_name(name, pid);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX ? -EBADMSG : 0;
	if (!err) {
		data = malloc((size_t)st.st_size + 1);
		err = !data ? -ENOMEM : read(fd, data, (size_t)st.st_size) == st.st_size ? 0 : -EBADMSG;
	}
	close(fd);
	if (!err) {
		message = land__outline__unpack(NULL, (size_t)st.st_size, data);
		err = message ? unpack(message, outline) : -EBADMSG;
	}
	if (message)
		land__outline__free_unpacked(message, NULL);
	free(data);
	if (err)
		outline_fini(outline);
	return err;
}

void outline_fini(struct outline *outline)
{
	free(outline->v);
	*outline = (struct outline){ 0 };
}
