// SPDX-License-Identifier: GPL-2.0-only
/*
 * areas.c - parse /proc/PID/maps. Calls libc only.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "areas.h"

/*
 * Anonymous memory has no inode and either no name, a name the process gave it, or one of the two below; other
 * bracketed names are the kernel's special mappings ([vdso], [vvar], [vvar_vclock], [vsyscall], [uprobes], ...).
 */
static bool is_anonymous_name(const char *name)
{
	return !*name || !strcmp(name, "[heap]") || !strncmp(name, "[stack", 6) || !strncmp(name, "[anon:", 6);
}

/*
 * Pages of AIO rings are written by the kernel past any page table, and private hugetlb areas are never taken from a
 * parent by CRIU (criu/mem.c, generate_vma_iovs). Hugetlb files on a mount of their own are not told apart by name:
 * CRIU ignores what is said of them.
 */
static bool is_untrackable_name(const char *name)
{
	return !strncmp(name, "/[aio]", 6) || !strncmp(name, "/anon_hugepage", 14);
}

int areas_add_line(struct areas *areas, const char *line)
{
	unsigned long inode;
	uint64_t start, end;
	struct area *area;
	char perms[5];
	const char *name;
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %lu%n", &start, &end, perms, &inode, &at) < 4 ||
	    start >= end || strlen(perms) != 4)
		return -EINVAL;
	if (areas->nr && start < areas->v[areas->nr - 1].end)
		return -EINVAL;
	name = line + at + strspn(line + at, " ");
	if (!strcmp(name, "[vsyscall]"))
		return 0; /* the kernel's own page at the end of the address space, in no process's memory */

	if (areas->nr == areas->room) {
		size_t room = areas->room ? areas->room * 2 : 64;
		struct area *v = reallocarray(areas->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		areas->v = v;
		areas->room = room;
	}

	area = &areas->v[areas->nr++];
	*area = (struct area){ .start = start, .end = end };
	area->file = inode || !is_anonymous_name(name);
	area->vdso = !strcmp(name, "[vdso]");
	area->trackable =
		perms[0] == 'r' && perms[3] == 'p' && (inode || is_anonymous_name(name)) && !is_untrackable_name(name);
	return 0;
}

int areas_read(int proc_dir, struct areas *areas)
{
	size_t room = 0;
	char *line = NULL;
	FILE *maps;
	int err = 0;
	int fd;

	*areas = (struct areas){ 0 };

	fd = openat(proc_dir, "maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	maps = fdopen(fd, "r");
	if (!maps) {
		err = -errno;
		close(fd);
		return err;
	}

	errno = 0;
	while (!err && getline(&line, &room, maps) > 0) {
		line[strcspn(line, "\n")] = '\0';
		err = areas_add_line(areas, line);
	}
	if (!err && ferror(maps))
		err = errno ? -errno : -EIO;
	if (!err && !areas->nr)
		err = -ESRCH;

	free(line);
	fclose(maps);
	if (err)
		areas_fini(areas);
	return err;
}

size_t areas_find(const struct areas *areas, uint64_t addr)
{
	size_t low = 0, high = areas->nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (areas->v[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

void areas_fini(struct areas *areas)
{
	for (size_t i = 0; i < areas->nr; i++)
		pagescan_regions_fini(&areas->v[i].regions);
	free(areas->v);
	*areas = (struct areas){ 0 };
}
