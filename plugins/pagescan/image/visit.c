// SPDX-License-Identifier: GPL-2.0-only
/*
 * visit.c - read CRIU's images. Calls protobuf-c, the kernel.
 *
 * An image is two magic numbers and then messages, each behind its length (criu/protobuf.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagescan.h>

#include "criu.pb-c.h"
#include "image.h"
#include "visit.h"

/* criu/include/magic.h */
#define MM_MAGIC    0x57492820u
#define CORE_MAGIC  0x55053847u
#define FILES_MAGIC 0x56303138u

/* criu/include/image.h: of an area's status */
#define AREA_HEAP    (1u << 5)
#define FILE_PRIVATE (1u << 6)
#define FILE_SHARED  (1u << 7)

struct reader {
	FILE *file;
	uint64_t left; /* bytes that the file can still have */
	uint8_t *message;
	uint32_t len;
	uint32_t room;
};

static void reader_close(struct reader *reader)
{
	fclose(reader->file);
	free(reader->message);
}

/* Neither a device nor a pipe that never ends. */
static int reader_open(struct reader *reader, int dir, const char *name, uint32_t wanted)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint32_t magic[2];
	struct stat st;
	int err;

	*reader = (struct reader){ 0 };
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EBADMSG;
	if (!err)
		reader->file = fdopen(fd, "r");
	if (!reader->file) {
		close(fd);
		return err ? err : -ENOMEM;
	}
	reader->left = (uint64_t)st.st_size;
	if (fread(magic, sizeof(*magic), 2, reader->file) == 2 && magic[0] == IMG_COMMON_MAGIC && magic[1] == wanted)
		return 0;
	reader_close(reader);
	return -EBADMSG;
}

/* Returns 1 with the next message, 0 at the end of the file, or a negative errno. */
static int reader_next(struct reader *reader)
{
	size_t got = fread(&reader->len, 1, sizeof(reader->len), reader->file);

	if (!got && feof(reader->file))
		return 0;
	if (got != sizeof(reader->len) || reader->len > reader->left)
		return -EBADMSG;
	if (reader->len > reader->room) {
		uint8_t *message = realloc(reader->message, reader->len);

		if (!message)
			return -ENOMEM;
		reader->message = message;
		reader->room = reader->len;
	}
	reader->left -= reader->len;
	return fread(reader->message, 1, reader->len, reader->file) == reader->len ? 1 : -EBADMSG;
}

/* Returns whether there is something in it, or a negative errno. */
static int take_run(const Criu__PagemapEntry *entry, struct visit_run *run)
{
	const uint64_t page = pagescan_page_size();
	const uint64_t nr = entry->has_wide_nr_pages ? entry->wide_nr_pages : entry->nr_pages;
	const uint32_t flags = entry->has_in_parent && entry->in_parent ? IMAGE_IN_PARENT :
			       entry->has_flags				? entry->flags :
									  IMAGE_PRESENT;

	if (entry->base.n_unknown_fields || flags & ~(IMAGE_IN_PARENT | IMAGE_LAZY | IMAGE_PRESENT))
		return -EOPNOTSUPP;
	if (entry->vaddr % page || entry->vaddr < run->end || nr > (UINT64_MAX - entry->vaddr) / page)
		return -EBADMSG;
	run->start = entry->vaddr;
	run->end = entry->vaddr + nr * page;
	run->held = flags & IMAGE_PRESENT;
	/* What is in no image is fetched late, from elsewhere. */
	return nr && flags & (IMAGE_IN_PARENT | IMAGE_PRESENT);
}

/* It names the file of pages, and nothing else. */
static int check_head(const struct reader *reader)
{
	Criu__PagemapHead *head = criu__pagemap_head__unpack(NULL, reader->len, reader->message);
	int err = !head ? -EBADMSG : head->base.n_unknown_fields ? -EOPNOTSUPP : 0;

	if (head)
		criu__pagemap_head__free_unpacked(head, NULL);
	return err;
}

int image_visit_runs(int dir, const char *name, int (*visit)(void *ctx, const struct visit_run *run), void *ctx)
{
	struct visit_run run = { 0 };
	struct reader reader;
	int err = reader_open(&reader, dir, name, PAGEMAP_MAGIC);

	if (err)
		return err;
	err = reader_next(&reader);
	if (err >= 0)
		err = err ? check_head(&reader) : -EBADMSG;
	while (err >= 0 && (err = reader_next(&reader)) > 0) {
		Criu__PagemapEntry *entry = criu__pagemap_entry__unpack(NULL, reader.len, reader.message);

		err = entry ? take_run(entry, &run) : -EBADMSG;
		if (entry)
			criu__pagemap_entry__free_unpacked(entry, NULL);
		if (err > 0)
			err = visit(ctx, &run);
	}
	reader_close(&reader);
	return err;
}

static int end_at_pages(void *ctx, const struct visit_run *run)
{
	(void)ctx;
	return run->held ? -ECANCELED : 0;
}

int image_check_pages(int dir, const char *path, int pid, struct reason *why)
{
	char name[256];

	snprintf(name, sizeof(name), "%s/pagemap-%d.img", path, pid);
	if (image_visit_runs(dir, name, end_at_pages, NULL) == -EOPNOTSUPP)
		return reason_set(why, -EOPNOTSUPP, "%s has what is not known here (compressed pages?)", name);
	return 0;
}

/* The one message of the image @kind-@pid.img, in a reader to be closed. */
static int open_one(struct reader *reader, int dir, const char *kind, int pid, uint32_t magic)
{
	char name[32];
	int err;

	snprintf(name, sizeof(name), "%s-%d.img", kind, pid);
	err = reader_open(reader, dir, name, magic);
	if (err)
		return err;
	err = reader_next(reader);
	if (err > 0)
		return 0;
	reader_close(reader);
	return err ? err : -EBADMSG;
}

int image_visit_areas(int dir, int pid, int (*visit)(void *ctx, const struct visit_area *area), void *ctx)
{
	struct reader reader;
	Criu__MmEntry *mm;
	int err = open_one(&reader, dir, "mm", pid, MM_MAGIC);

	if (err)
		return err;
	mm = criu__mm_entry__unpack(NULL, reader.len, reader.message);
	reader_close(&reader);
	if (!mm)
		return -EBADMSG;
	for (size_t i = 0; !err && i < mm->n_vmas; i++) {
		const Criu__VmaEntry *from = mm->vmas[i];
		const bool file = from->status & (FILE_PRIVATE | FILE_SHARED);
		const struct visit_area area = {
			.start = from->start,
			.end = from->end,
			.heap = from->status & AREA_HEAP,
			.stack = from->start <= mm->start_stack && mm->start_stack < from->end,
			.file = file ? (uint32_t)from->shmid : 0,
		};

		err = area.start < area.end ? visit(ctx, &area) : -EBADMSG;
	}
	criu__mm_entry__free_unpacked(mm, NULL);
	return err;
}

int image_visit_command(int dir, int pid, char command[16])
{
	struct reader reader;
	Criu__Core *core;
	int err = open_one(&reader, dir, "core", pid, CORE_MAGIC);

	if (err)
		return err;
	core = criu__core__unpack(NULL, reader.len, reader.message);
	reader_close(&reader);
	if (core && core->task)
		snprintf(command, 16, "%s", core->task->comm);
	else
		err = -EBADMSG;
	if (core)
		criu__core__free_unpacked(core, NULL);
	return err;
}

int image_visit_files(int dir, int (*visit)(void *ctx, uint32_t id, const char *path), void *ctx)
{
	struct reader reader;
	int err = reader_open(&reader, dir, "files.img", FILES_MAGIC);

	if (err)
		return err;
	while (err >= 0 && (err = reader_next(&reader)) > 0) {
		Criu__File *file = criu__file__unpack(NULL, reader.len, reader.message);

		err = !file ? -EBADMSG : file->regular ? visit(ctx, file->id, file->regular->name) : 0;
		if (file)
			criu__file__free_unpacked(file, NULL);
	}
	reader_close(&reader);
	return err;
}
