// SPDX-License-Identifier: GPL-2.0-only
/*
 * smaps.c - VmFlags without smaps, areas from after the freeze. Calls vmread, identity, libc.
 *
 * Where the kernel lets us have the flags as they are now (vmread.h), CRIU gets these. Each area has to be the one in maps,
 * and each flag to be known; else CRIU gets the real file.
 *
 * Elsewhere a pre-dump gets flags from before the freeze. A task may change its areas between the two reads. An area of the
 * fresh maps takes the flags of one that was in the same place with the same backing (device, inode and name); if there is
 * none, CRIU gets the real file. What flags can decide in a pre-dump (criu/proc_parse.c, parse_vma_vmflags) is whether the
 * pages are dumped: hugetlb (ht), I/O and raw frames (io, pf), droppable memory (dp), shadow stacks (ss). The first three
 * follow from the backing. The last two do not: anonymous memory may have been replaced by other anonymous memory. A task
 * that had such an area gets the real file; one that has made one since has its pages dumped for nothing, which is harmless.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "smaps.h"
#include "track/identity.h"
#include "vmread.h"

struct vma {
	uint64_t start;
	uint64_t end;
	char *backing;
	char *flags;
};

struct task {
	struct identity id;
	bool is_now; /* without backing, and exactly the areas that the task has */
	struct vma *v;
	size_t nr;
	struct task *next;
};

static struct task *tasks;

static void task_free(struct task *task)
{
	for (size_t i = 0; i < task->nr; i++) {
		free(task->v[i].backing);
		free(task->v[i].flags);
	}
	free(task->v);
	free(task);
}

void smaps_forget(void)
{
	vmread_close();
	while (tasks) {
		struct task *task = tasks;

		tasks = task->next;
		task_free(task);
	}
}

/* The first line of an area, alike in maps and smaps. The backing is the caller's to free. */
static bool parse_area(const char *line, struct vma *vma)
{
	char dev[32];
	unsigned long inode;
	int at = 0;

	*vma = (struct vma){ 0 };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %*x %31s %lu%n", &vma->start, &vma->end, dev, &inode, &at) !=
		    4 ||
	    !at)
		return false;
	at += (int)strspn(line + at, " ");
	if (asprintf(&vma->backing, "%s %lu %s", dev, inode, line + at) < 0)
		vma->backing = NULL;
	return vma->backing;
}

static bool has_flag(const char *flags, const char *flag)
{
	const char *at = strstr(flags, flag);

	return at && (at == flags || at[-1] == ' ');
}

static bool add_area(struct task *task, struct vma *vma)
{
	struct vma *v = reallocarray(task->v, task->nr + 1, sizeof(*v));

	if (!v) {
		free(vma->backing);
		return false;
	}
	task->v = v;
	v[task->nr++] = *vma;
	return true;
}

/* One line of smaps. Returns false if this task's flags cannot be used. */
static bool take_line(struct task *task, const char *line)
{
	static const char label[] = "VmFlags: ";
	struct vma vma;

	if (strncmp(line, label, strlen(label)))
		return !parse_area(line, &vma) || add_area(task, &vma);

	line += strlen(label);
	if (!task->nr || task->v[task->nr - 1].flags || has_flag(line, "dp") || has_flag(line, "ss"))
		return false;
	task->v[task->nr - 1].flags = strdup(line);
	return task->v[task->nr - 1].flags;
}

static FILE *open_in(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (!file && fd >= 0)
		close(fd);
	return file;
}

static void read_task(int dir, FILE *smaps)
{
	struct task *task = calloc(1, sizeof(*task));
	char *line = NULL;
	size_t room = 0;
	bool ok = task && !identity_read(dir, &task->id);

	while (ok && getline(&line, &room, smaps) > 0) {
		line[strcspn(line, "\n")] = '\0';
		ok = take_line(task, line);
	}
	free(line);
	if (ok) {
		task->next = tasks;
		tasks = task;
	} else if (task) {
		task_free(task);
	}
}

static void read_tree(int pid);

/* Every thread has its own list of children (proc_pid_task_children(5)); the first thread's is enough to go by. */
static void read_children(int dir, int pid)
{
	char path[48];
	FILE *children;
	int child;

	snprintf(path, sizeof(path), "task/%d/children", pid);
	children = open_in(dir, path);
	while (children && fscanf(children, "%d", &child) == 1)
		read_tree(child);
	if (children)
		fclose(children);
}

static void read_tree(int pid)
{
	int dir = identity_open(pid);
	FILE *smaps;

	if (dir < 0)
		return;
	smaps = open_in(dir, "smaps");
	if (smaps) {
		read_task(dir, smaps);
		fclose(smaps);
	}
	read_children(dir, pid);
	close(dir);
}

int smaps_prepare(int pid, bool pre_dump)
{
	int err;

	smaps_forget();
	err = vmread_open();
	if (err && pre_dump)
		read_tree(pid);
	return err;
}

/* The flags for a fresh area, NULL if nothing alike was in its place. Both lists ascend: *at follows. */
static const char *flags_for(const struct task *task, const struct vma *fresh, size_t *at)
{
	const char *flags = NULL;

	while (*at < task->nr && task->v[*at].end <= fresh->start)
		(*at)++;
	for (size_t i = *at; i < task->nr && task->v[i].start < fresh->end; i++) {
		if (!task->v[i].flags || strcmp(task->v[i].backing, fresh->backing))
			return NULL;
		flags = flags ? flags : task->v[i].flags;
	}
	return flags;
}

/* The same of a task as it is now. */
static const char *flags_now(const struct task *task, const struct vma *fresh, size_t *at)
{
	static const char gate[] = "[vsyscall]";
	const size_t len = strlen(fresh->backing), gate_len = strlen(gate);

	/* This is no area of the task's, but maps tells it, behind all others; CRIU knows it by its name. */
	if (*at == task->nr && len > gate_len && !strcmp(fresh->backing + len - gate_len, gate))
		return "";
	if (*at == task->nr || task->v[*at].start != fresh->start || task->v[*at].end != fresh->end)
		return NULL;
	return task->v[(*at)++].flags;
}

static bool write_areas(const struct task *task, const char *maps, FILE *out)
{
	size_t at = 0;
	bool ok = true;

	while (ok && *maps) {
		size_t len = strcspn(maps, "\n");
		char *line = strndup(maps, len);
		const char *flags = NULL;
		struct vma fresh;

		if (line && parse_area(line, &fresh)) {
			flags = task->is_now ? flags_now(task, &fresh, &at) : flags_for(task, &fresh, &at);
			free(fresh.backing);
		}
		ok = flags && fprintf(out, "%s\nVmFlags: %s\n", line, flags) > 0;
		free(line);
		maps += len + (maps[len] == '\n');
	}
	return ok;
}

/* The task @id as it is, the caller's to free; NULL if that cannot be had. */
static struct task *task_now(const struct identity *id)
{
	struct task *task = calloc(1, sizeof(*task));
	struct vma_bits *v = NULL;
	const int nr = task ? vmread_areas(id->pid, &v) : -1;
	char text[VMFLAGS_TEXT];
	bool ok = nr > 0;

	for (int i = 0; i < nr && ok; i++) {
		struct vma vma = { .start = v[i].start, .end = v[i].end };

		ok = vmread_letters(v[i].bits, text) && add_area(task, &vma);
		if (ok)
			task->v[i].flags = strdup(text);
		ok = ok && task->v[i].flags;
	}
	free(v);
	if (ok) {
		task->is_now = true;
		return task;
	}
	if (task)
		task_free(task);
	return NULL;
}

static int open_text(const struct task *task, const char *maps)
{
	FILE *out;
	bool ok;
	int fd;

	fd = memfd_create("smaps", MFD_CLOEXEC);
	out = fd >= 0 ? fdopen(dup(fd), "w") : NULL;
	ok = out && write_areas(task, maps, out);
	if (out)
		ok = !fclose(out) && ok;
	if (ok && !lseek(fd, 0, SEEK_SET))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int smaps_open(const struct identity *id, const char *maps)
{
	struct task *now = vmread_is_open() ? task_now(id) : NULL;
	const struct task *task = now ? now : tasks;
	int fd;

	while (!now && task && !identity_equal(&task->id, id))
		task = task->next;
	fd = task ? open_text(task, maps) : -1;
	if (now)
		task_free(now);
	return fd;
}
