// SPDX-License-Identifier: GPL-2.0-only
/* CRIU's images as a landing reads them: what was written is read, and what is damaged is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "criu.pb-c.h"
#include "image/flatten.h"
#include "image/image.h"
#include "image/read.h"
#include "image/visit.h"
#include "unit.h"

#define PAGE 4096UL

static char path[] = "/tmp/test_images.XXXXXX";
static int dir;

static int set_up(void **state)
{
	(void)state;
	strcpy(path, "/tmp/test_images.XXXXXX");
	dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return dir < 0;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", path);
	return system(command);
}

/* A file of a magic pair and messages. */
static FILE *create(const char *name, uint32_t magic)
{
	const uint32_t head[] = { 0x54564319, magic };
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *file = fdopen(fd, "w");

	assert_int_equal(fwrite(head, sizeof(head), 1, file), 1);
	return file;
}

static void put(FILE *file, const ProtobufCMessage *message)
{
	uint32_t size = (uint32_t)protobuf_c_message_get_packed_size(message);
	uint8_t *data = malloc(size + 1);

	protobuf_c_message_pack(message, data);
	assert_int_equal(fwrite(&size, sizeof(size), 1, file), 1);
	assert_int_equal(fwrite(data, 1, size, file), size);
	free(data);
}

static FILE *create_pagemap(void)
{
	Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;
	FILE *file = create("pagemap-5.img", 0x56084025);

	head.pages_id = 3;
	put(file, &head.base);
	return file;
}

static void put_entry(FILE *file, uint64_t start, uint32_t pages, int flags)
{
	Criu__PagemapEntry entry = CRIU__PAGEMAP_ENTRY__INIT;

	entry.vaddr = start;
	entry.nr_pages = pages;
	entry.has_flags = flags >= 0;
	entry.flags = (uint32_t)flags;
	put(file, &entry.base);
}

static void runs_are_read_as_a_live_round_writes_them(void **state)
{
	struct image_pagemap pagemap;
	struct image_runs runs;

	(void)state;
	assert_int_equal(image_read_runs(dir, 5, &runs), -ENOENT);
	assert_int_equal(image_pagemap_open(&pagemap, dir, 5, 9), 0);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(image_pagemap_add(&pagemap, 3 * i * PAGE, (3 * i + 2) * PAGE,
						   i % 2 ? IMAGE_PRESENT : IMAGE_IN_PARENT),
				 0);
	assert_int_equal(image_pagemap_close(&pagemap), 0);
	assert_int_equal(image_read_runs(dir, 5, &runs), 0);
	assert_int_equal(runs.nr, 1000);
	assert_int_equal(runs.pages_id, 9);
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(runs.v[i].start, 3 * i * PAGE);
		assert_int_equal(runs.v[i].end, (3 * i + 2) * PAGE);
		assert_int_equal(runs.v[i].in_parent, i % 2 == 0);
		assert_int_equal(runs.v[i].offset, i / 2 * 2 * PAGE);
	}
	assert_int_equal(image_runs_find(&runs, 0), 0);
	assert_int_equal(image_runs_find(&runs, 2 * PAGE), 1);
	assert_int_equal(image_runs_find(&runs, 2999 * PAGE), 1000);
	image_runs_fini(&runs);
}

/* CRIU marks what a lazy restore may fetch later; what is there is there. Old images have no flags, or another one. */
static void runs_of_every_criu_are_read(void **state)
{
	Criu__PagemapEntry entry = CRIU__PAGEMAP_ENTRY__INIT;
	struct image_runs runs;
	FILE *file = create_pagemap();

	(void)state;
	put_entry(file, 0x1000, 1, 4 | 2);
	put_entry(file, 0x3000, 1, -1);
	entry.vaddr = 0x5000;
	entry.has_in_parent = entry.in_parent = 1;
	entry.nr_pages = 1;
	put(file, &entry.base);
	entry = (Criu__PagemapEntry)CRIU__PAGEMAP_ENTRY__INIT;
	entry.vaddr = 0x10000;
	entry.has_flags = entry.has_wide_nr_pages = 1;
	entry.flags = 4;
	entry.wide_nr_pages = 1UL << 33;
	put(file, &entry.base);
	fclose(file);
	assert_int_equal(image_read_runs(dir, 5, &runs), 0);
	assert_int_equal(runs.nr, 4);
	assert_false(runs.v[0].in_parent);
	assert_int_equal(runs.v[1].offset, PAGE);
	assert_true(runs.v[2].in_parent);
	assert_int_equal(runs.v[3].end - runs.v[3].start, PAGE << 33);
	assert_int_equal(runs.v[3].offset, 2 * PAGE);
	image_runs_fini(&runs);
}

static void damaged_runs_are_refused(void **state)
{
	static const struct {
		uint64_t start;
		uint32_t pages;
		int flags, err;
	} bad[] = {
		{ 0x3001, 1, 4, -EBADMSG },		/* no page's border */
		{ 0x1000, 1, 4, -EBADMSG },		/* not behind the one before */
		{ 0xfffffffffffff000, 2, 4, -EBADMSG }, /* beyond all memory */
		{ 0x3000, 1, 2, -EOPNOTSUPP },		/* elsewhere */
		{ 0x3000, 1, 5, -EOPNOTSUPP },		/* both */
		{ 0x3000, 1, 8, -EOPNOTSUPP },		/* what no CRIU has */
		{ 0x3000, 1, 12, -EOPNOTSUPP },		/* at the border of a page of the file */
	};
	struct image_runs runs;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		FILE *file = create_pagemap();

		put_entry(file, 0x1000, 2, 4);
		put_entry(file, bad[i].start, bad[i].pages, bad[i].flags);
		fclose(file);
		assert_int_equal(image_read_runs(dir, 5, &runs), bad[i].err);
		assert_int_equal(runs.nr, 0);
	}
	/* Cut short, everywhere. */
	for (off_t len = 0; len < 30; len++) {
		FILE *file = create_pagemap();

		put_entry(file, 0x1000, 2, 4);
		fclose(file);
		file = fdopen(openat(dir, "pagemap-5.img", O_RDWR | O_CLOEXEC), "r+");
		fseek(file, 0, SEEK_END);
		if (len < ftell(file)) {
			assert_int_equal(ftruncate(fileno(file), len), 0);
			/* A head alone is a task without pages. */
			assert_int_equal(image_read_runs(dir, 5, &runs), len == 14 ? 0 : -EBADMSG);
		}
		fclose(file);
	}
}

static int seen_run(void *ctx, const struct visit_run *run)
{
	(void)run;
	++*(int *)ctx;
	return 0;
}

/* How a CRIU that compresses tells it (field 6, or a flag), and a field of the head. For people and for a landing alike. */
static void what_is_not_known_is_refused(void **state)
{
	static const struct {
		uint8_t head[2];
		uint8_t entry[2];
		uint32_t flags;
		int err;
	} with[] = {
		{ { 0 }, { 0 }, IMAGE_PRESENT, 0 },
		{ { 0 }, { 6 << 3, 99 }, IMAGE_PRESENT, -EOPNOTSUPP },
		{ { 0 }, { 0 }, IMAGE_PRESENT | 8, -EOPNOTSUPP },
		{ { 2 << 3, 1 }, { 0 }, IMAGE_PRESENT, -EOPNOTSUPP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(with) / sizeof(*with); i++) {
		Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;
		Criu__PagemapEntry entry = CRIU__PAGEMAP_ENTRY__INIT;
		ProtobufCMessageUnknownField more = { with[i].head[0] >> 3, PROTOBUF_C_WIRE_TYPE_VARINT, 1,
						      (uint8_t *)&with[i].head[1] };
		ProtobufCMessageUnknownField packed = { with[i].entry[0] >> 3, PROTOBUF_C_WIRE_TYPE_VARINT, 1,
							(uint8_t *)&with[i].entry[1] };
		FILE *file = create("pagemap-5.img", 0x56084025);
		struct image_runs runs;
		int seen = 0;

		head.base.n_unknown_fields = with[i].head[0] > 0;
		head.base.unknown_fields = &more;
		put(file, &head.base);
		entry.vaddr = 0x1000;
		entry.nr_pages = 3;
		entry.has_flags = 1;
		entry.flags = with[i].flags;
		entry.base.n_unknown_fields = with[i].entry[0] > 0;
		entry.base.unknown_fields = &packed;
		put(file, &entry.base);
		fclose(file);
		assert_int_equal(image_read_runs(dir, 5, &runs), with[i].err);
		assert_int_equal(runs.bytes, with[i].err ? 0 : 3 * PAGE);
		image_runs_fini(&runs);
		assert_int_equal(image_visit_runs(dir, "pagemap-5.img", seen_run, &seen), with[i].err);
		assert_int_equal(seen, !with[i].err);
	}
}

/* What is written here and by CRIU is known, anything else is not. */
static void versions_are_told(void **state)
{
	const uint32_t magic = 0x58313116;
	struct reason why = { "" };

	(void)state;
	assert_int_equal(image_check_version(dir, ".", &why), -ENOENT);
	assert_string_equal(why.text, "");
	assert_int_equal(image_write_inventory(dir, 1), 0);
	assert_int_equal(image_check_version(dir, ".", &why), 0);
	for (uint32_t version = 0; version < 5; version++) {
		Criu__Inventory inventory = CRIU__INVENTORY__INIT;
		FILE *file = create("inventory.img", 0);

		rewind(file);
		assert_int_equal(fwrite(&magic, sizeof(magic), 1, file), 1);
		inventory.img_version = version;
		put(file, &inventory.base);
		assert_int_equal(ftruncate(fileno(file), ftell(file)), 0);
		fclose(file);
		why.text[0] = '\0';
		assert_int_equal(image_check_version(dir, ".", &why), version <= 2 ? 0 : -EOPNOTSUPP);
		assert_int_equal(!why.text[0], version <= 2);
	}
	fclose(create("inventory.img", 1));
	assert_int_equal(image_check_version(dir, ".", &why), -EBADMSG);
	assert_non_null(strstr(why.text, "./inventory.img: not an inventory"));
}

static void areas_and_tree_are_read(void **state)
{
	Criu__VmaEntry area = CRIU__VMA_ENTRY__INIT, *list[] = { &area, &area };
	Criu__PstreeEntry task = CRIU__PSTREE_ENTRY__INIT;
	Criu__MmEntry mm = CRIU__MM_ENTRY__INIT;
	struct image_areas areas;
	struct image_tree tree;
	FILE *file;

	(void)state;
	assert_int_equal(image_read_areas(dir, 5, &areas), -ENOENT);
	assert_int_equal(image_read_tree(dir, &tree), -ENOENT);
	area.start = 0x1000;
	area.end = 0x5000;
	area.prot = 3;
	area.flags = 0x22;
	area.status = IMAGE_AREA_REGULAR | IMAGE_AREA_ANON_PRIVATE;
	area.has_madv = 1;
	area.madv = 1UL << 14;
	mm.n_vmas = 2;
	mm.vmas = list;
	file = create("mm-5.img", 0x57492820);
	put(file, &mm.base);
	fclose(file);
	assert_int_equal(image_read_areas(dir, 5, &areas), 0);
	assert_int_equal(areas.nr, 2);
	assert_int_equal(areas.v[1].end, 0x5000);
	assert_int_equal(areas.v[1].flags, 0x22);
	assert_int_equal(areas.v[1].madv, 1UL << 14);
	image_areas_fini(&areas);

	file = create("pstree.img", 0x50273030);
	for (uint32_t pid = 1; pid <= 200; pid++) {
		task.pid = pid;
		task.ppid = pid / 2;
		put(file, &task.base);
	}
	fclose(file);
	assert_int_equal(image_read_tree(dir, &tree), 0);
	assert_int_equal(tree.nr, 200);
	assert_int_equal(tree.v[199].pid, 200);
	assert_int_equal(tree.v[199].parent, 100);
	image_tree_fini(&tree);
	/* One for the other. */
	assert_int_equal(renameat(dir, "pstree.img", dir, "mm-5.img"), 0);
	assert_int_equal(image_read_areas(dir, 5, &areas), -EBADMSG);
	assert_int_equal(mkdirat(dir, "pstree.img", 0700), 0);
	assert_int_equal(image_read_tree(dir, &tree), -EBADMSG);
}

static struct image_runs written_and_flattened(const struct image_run *v, size_t nr)
{
	struct image_pagemap pagemap;
	struct image_runs runs;

	assert_int_equal(image_pagemap_open(&pagemap, dir, 7, 3), 0);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(image_pagemap_add(&pagemap, v[i].start, v[i].end,
						   v[i].in_parent ? IMAGE_IN_PARENT : IMAGE_PRESENT),
				 0);
	assert_int_equal(image_pagemap_close(&pagemap), 0);
	assert_int_equal(symlinkat("../1", dir, "parent"), 0);
	assert_int_equal(image_flatten(dir), 0);
	assert_int_equal(image_read_runs(dir, 7, &runs), 0);
	return runs;
}

/* What a dump asks of its parent is which pages there are, and that stays. */
static void flattened_images_have_the_same_pages(void **state)
{
	static const struct image_run v[] = {
		{ 4 * PAGE, 5 * PAGE, 0, false },   { 5 * PAGE, 9 * PAGE, 0, true },
		{ 9 * PAGE, 10 * PAGE, 0, false },  { 12 * PAGE, 13 * PAGE, 0, true },
		{ 13 * PAGE, 14 * PAGE, 0, false },
	};
	struct image_runs runs = written_and_flattened(v, sizeof(v) / sizeof(*v));

	(void)state;
	assert_int_equal(runs.nr, 2);
	assert_int_equal(runs.v[0].start, 4 * PAGE);
	assert_int_equal(runs.v[0].end, 10 * PAGE);
	assert_int_equal(runs.v[1].start, 12 * PAGE);
	assert_int_equal(runs.v[1].end, 14 * PAGE);
	assert_int_equal(runs.pages_id, 3);
	image_runs_fini(&runs);
}

/* Nothing of the ancestors is read any more. */
static void flattened_images_have_no_parent(void **state)
{
	static const struct image_run one = { 4 * PAGE, 5 * PAGE, 0, true };
	struct image_runs runs = written_and_flattened(&one, 1);

	(void)state;
	image_runs_fini(&runs);
	assert_int_equal(faccessat(dir, "parent", F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

/* As in criu's own, where they are never absent, whatever is optional about them. */
static void statistics_have_all_numbers_of_pages(void **state)
{
	const struct image_stats stats = { .stopped = 7, .written = 8, .pages_parent = 3, .pages_written = 2 };
	struct image_stats got = { 0 };
	Criu__Stats *message;
	uint8_t data[256];
	ssize_t size;
	int fd;

	(void)state;
	assert_int_equal(image_write_stats(dir, &stats), 0);
	assert_int_equal(image_read_stats(dir, IMAGE_STATS, &got), 0);
	assert_memory_equal(&got, &stats, sizeof(got));
	fd = openat(dir, IMAGE_STATS, O_RDONLY | O_CLOEXEC);
	size = read(fd, data, sizeof(data));
	close(fd);
	assert_in_range(size, 12, sizeof(data) - 1);
	message = criu__stats__unpack(NULL, (size_t)size - 12, data + 12);
	assert_non_null(message);
	assert_int_equal(message->dump->pages_scanned, 5);
	assert_true(message->dump->has_shpages_scanned && message->dump->has_shpages_skipped_parent);
	assert_true(message->dump->has_shpages_written && !message->dump->shpages_written);
	criu__stats__free_unpacked(message, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_are_read_as_a_live_round_writes_them, set_up, tear_down),
		cmocka_unit_test_setup_teardown(runs_of_every_criu_are_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_runs_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_known_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(versions_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(areas_and_tree_are_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(flattened_images_have_the_same_pages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(flattened_images_have_no_parent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(statistics_have_all_numbers_of_pages, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
