// SPDX-License-Identifier: GPL-2.0-only
/*
 * areas.c - parse /proc/PID/maps. Calls regions, libc.
 */
#include <errno.h>
#include <fcntl.h>
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

/* Step over one number, which ends with @end. Returns NULL if there is none. */
static const char *number(const char *at, int base, char end, uint64_t *value)
{
	char *rest;

	*value = strtoull(at, &rest, base);
	return rest != at && *rest == end ? rest + 1 : NULL;
}

/* "start-end perms offset major:minor inode   name": proc_pid_maps(5). Numbers but the inode are hexadecimal. */
static const char *parse(const char *at, struct area *area, const char **perms, uint64_t *inode)
{
	uint64_t skip;

	at = number(at, 16, '-', &area->start);
	at = at ? number(at, 16, ' ', &area->end) : NULL;
	if (!at || area->start >= area->end || strnlen(at, 5) < 5 || at[4] != ' ')
		return NULL;
	*perms = at;
	at = number(at + 5, 16, ' ', &skip);
	at = at ? number(at, 16, ':', &skip) : NULL;
	at = at ? number(at, 16, ' ', &skip) : NULL;
	if (!at || *at < '0' || *at > '9')
		return NULL;
	*inode = strtoull(at, (char **)&at, 10);
	return *at && *at != ' ' ? NULL : at + strspn(at, " ");
}

int areas_add_line(struct areas *areas, const char *line)
{
	struct area area = { 0 };
	const char *perms;
	const char *name;
	uint64_t inode;

	name = parse(line, &area, &perms, &inode);
	if (!name || (areas->nr && area.start < areas->v[areas->nr - 1].end))
		return -EINVAL;
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

	area.vdso = !inode && !strcmp(name, "[vdso]");
	area.file = inode || !is_anonymous_name(name);
	area.trackable =
		perms[0] == 'r' && perms[3] == 'p' && (inode || is_anonymous_name(name)) && !is_untrackable_name(name);
	areas->v[areas->nr++] = area;
	return 0;
}

/* The whole file as one string, the caller's. */
static int read_text(int dir, char **text)
{
	size_t room = 32 << 10, len = 0;
	int fd = openat(dir, "maps", O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	*text = NULL;
	if (fd < 0)
		return -errno;
	while (got > 0) {
		if (!*text || room - len < 8 << 10) {
			char *more = realloc(*text, room *= 2);

			if (!more) {
				got = -ENOMEM;
				break;
			}
			*text = more;
		}
		got = read(fd, *text + len, room - len - 1);
		if (got < 0)
			got = -errno;
		else
			len += (size_t)got;
	}
	close(fd);
	if (*text)
		(*text)[len] = '\0';
	return (int)got;
}

int areas_read(int proc_dir, struct areas *areas)
{
	int err;

	*areas = (struct areas){ 0 };
	err = read_text(proc_dir, &areas->text);

	for (char *line = areas->text; !err && line && *line;) {
		char *end = strchrnul(line, '\n');
		char was = *end;

		*end = '\0';
		err = areas_add_line(areas, line);
		*end = was;
		line = end + (was != '\0');
	}
	if (!err && !areas->nr)
		err = -ESRCH;
	if (err)
		areas_fini(areas);
	return err;
}

size_t areas_run(const struct areas *areas, size_t first)
{
	const uint64_t small = AREA_SMALL_PAGES * pagescan_page_size();
	size_t nr = 0;

	while (first + nr < areas->nr && areas->v[first + nr].end - areas->v[first + nr].start <= small)
		nr++;
	return nr ? nr : 1;
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
	free(areas->text);
	*areas = (struct areas){ 0 };
}
