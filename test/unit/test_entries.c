// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pagemap images as CRIU writes them, before and since 4.2: what they and their parents have, and that completing one
 * changes nothing of what CRIU wrote and leaves no page out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "criu.pb-c.h"
#include "image/entries.h"
#include "image/image.h"
#include "unit.h"

#define BASE	  0x7f0000000000ul
#define IN_PARENT IMAGE_IN_PARENT
#define LAZY	  2u
#define PRESENT	  IMAGE_PRESENT

struct entry {
	uint64_t first; /* page, from BASE on */
	uint64_t nr;
	uint32_t flags;
};

static uint64_t page;
static bool since_4_2;

static void put(int fd, const ProtobufCMessage *message)
{
	uint8_t buf[64];
	uint32_t len = (uint32_t)protobuf_c_message_pack(message, buf);

	assert_int_equal(write(fd, &len, sizeof(len)), sizeof(len));
	assert_int_equal(write(fd, buf, len), len);
}

static void put_entries(int fd, const struct entry *v, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		Criu__PagemapEntry entry = CRIU__PAGEMAP_ENTRY__INIT;

		entry.vaddr = BASE + v[i].first * page;
		entry.nr_pages = (uint32_t)v[i].nr;
		entry.has_flags = 1;
		entry.flags = v[i].flags;
		entry.has_wide_nr_pages = since_4_2;
		entry.wide_nr_pages = v[i].nr;
		put(fd, &entry.base);
	}
}

/* An image of these entries, at its beginning. */
static int image_of(const struct entry *v, size_t nr)
{
	const uint32_t magic[] = { IMG_COMMON_MAGIC, PAGEMAP_MAGIC };
	Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_int_equal(write(fd, magic, sizeof(magic)), sizeof(magic));
	head.pages_id = 1;
	put(fd, &head.base);
	put_entries(fd, v, nr);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static struct image_entries read_image(int fd)
{
	struct image_entries entries;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(image_entries_read(fd, &entries), 0);
	return entries;
}

static bool covers(const struct image_entries *entries, uint64_t first, uint64_t nr)
{
	return image_entries_cover(entries, BASE + first * page, BASE + (first + nr) * page);
}

static const struct entry WRITTEN[] = {
	{ 10, 2, PRESENT }, { 12, 4, IN_PARENT }, { 20, 1, PRESENT | LAZY }, { 30, 3, LAZY }, { 40, 1, PRESENT },
};

static void what_a_parent_has(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct image_entries entries;
		int fd;

		since_4_2 = i;
		fd = image_of(WRITTEN, 5);
		entries = read_image(fd);
		assert_int_equal(entries.nr, 5);
		assert_true(covers(&entries, 10, 6) && covers(&entries, 11, 2) && covers(&entries, 40, 1));
		assert_false(covers(&entries, 9, 2) || covers(&entries, 15, 2) || covers(&entries, 10, 11));
		assert_false(covers(&entries, 30, 3)); /* to be fetched from elsewhere */
		assert_false(covers(&entries, 41, 1) || covers(&entries, 0, 1));
		image_entries_fini(&entries);
		close(fd);
	}
}

/* More pages than CRIU could count before 4.2. */
static void long_entries(void **state)
{
	const struct entry large = { 0, 1ul << 33, PRESENT };
	struct image_entries entries;
	int fd;

	(void)state;
	since_4_2 = true;
	fd = image_of(&large, 1);
	entries = read_image(fd);
	assert_true(covers(&entries, 0, 1ul << 33));
	assert_false(covers(&entries, 0, (1ul << 33) + 1));
	image_entries_fini(&entries);
	close(fd);
}

static void what_is_no_image(void **state)
{
	const struct entry backwards[] = { { 10, 2, PRESENT }, { 11, 2, PRESENT } };
	const size_t cuts[] = { 1, 4, 8, 9, 12, 15 };
	struct image_entries entries;
	int fd = image_of(backwards, 2);

	(void)state;
	assert_int_equal(image_entries_read(fd, &entries), -EBADMSG);
	close(fd);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
		fd = image_of(WRITTEN, 5);
		assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - (off_t)cuts[i]), 0);
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		assert_int_equal(image_entries_read(fd, &entries), -EBADMSG);
		assert_null(entries.data);
		close(fd);
	}
	fd = image_of(WRITTEN, 5);
	assert_int_equal(pwrite(fd, "x", 1, 5), 1);
	assert_int_equal(image_entries_read(fd, &entries), -EBADMSG);
	close(fd);
	fd = memfd_create("image", MFD_CLOEXEC);
	assert_int_equal(image_entries_read(fd, &entries), -EBADMSG);
	close(fd);
}

/* An image of one entry of ten pages, with a field of this number if there is one. */
static int image_with(uint32_t tag, uint32_t flags)
{
	static uint8_t value[] = { 3, 1, 2, 3 };
	ProtobufCMessageUnknownField field = { tag, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, sizeof(value), value };
	Criu__PagemapEntry entry = CRIU__PAGEMAP_ENTRY__INIT;
	int fd = image_of(NULL, 0);

	entry.vaddr = BASE;
	entry.nr_pages = 10;
	entry.has_flags = 1;
	entry.flags = flags;
	entry.base.n_unknown_fields = tag > 0;
	entry.base.unknown_fields = &field;
	lseek(fd, 0, SEEK_END);
	put(fd, &entry.base);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* A CRIU that compresses tells how pages are packed: that is none of ours, and anything else may be. */
static void packed_pages_stay_as_they_are(void **state)
{
	static const struct {
		uint32_t tag, flags;
		bool known;
	} with[] = {
		{ 0, PRESENT, true },	  { 6, PRESENT, true },	 { 7, PRESENT, true },	     { 8, PRESENT, true },
		{ 0, PRESENT | 8, true }, { 9, PRESENT, false }, { 0, PRESENT | 16, false },
	};
	struct pagescan_regions regions = { 0 };

	(void)state;
	assert_int_equal(pagescan_regions_add(&regions, BASE + 20 * page, BASE + 21 * page, 0), 0);
	for (size_t i = 0; i < sizeof(with) / sizeof(*with); i++) {
		int fd = image_with(with[i].tag, with[i].flags);
		struct image_entries before, after;

		assert_int_equal(image_entries_read(fd, &before), with[i].known ? 0 : -EOPNOTSUPP);
		if (with[i].known) {
			assert_true(covers(&before, 0, 10));
			assert_int_equal(image_entries_fill(fd, &before, &regions), 0);
			after = read_image(fd);
			assert_int_equal(after.nr, 2);
			assert_true(covers(&after, 0, 10) && covers(&after, 20, 1));
			assert_memory_equal(after.data, before.data, before.size);
			image_entries_fini(&after);
			image_entries_fini(&before);
		}
		close(fd);
	}
	pagescan_regions_fini(&regions);
}

static void add(struct pagescan_regions *regions, uint64_t first, uint64_t nr)
{
	assert_int_equal(pagescan_regions_add(regions, BASE + first * page, BASE + (first + nr) * page, 0), 0);
}

/* Regions before, between, behind, across and within what CRIU wrote. */
static void all_is_there_afterwards(void **state)
{
	static const struct entry expected[] = {
		{ 2, 3, IN_PARENT },  { 8, 2, IN_PARENT },  { 10, 2, PRESENT },	       { 12, 4, IN_PARENT },
		{ 16, 2, IN_PARENT }, { 19, 1, IN_PARENT }, { 20, 1, PRESENT | LAZY }, { 30, 3, LAZY },
		{ 33, 7, IN_PARENT }, { 40, 1, PRESENT },   { 41, 9, IN_PARENT },      { 60, 1, IN_PARENT },
	};
	struct pagescan_regions regions = { 0 };

	(void)state;
	add(&regions, 2, 3);
	add(&regions, 8, 4);
	add(&regions, 13, 5);
	add(&regions, 19, 1);
	add(&regions, 31, 1);
	add(&regions, 32, 18);
	add(&regions, 60, 1);
	for (int i = 0; i < 2; i++) {
		struct image_entries before, after;
		int fd, wanted;
		char *bytes;

		since_4_2 = i;
		fd = image_of(WRITTEN, 5);
		before = read_image(fd);
		assert_int_equal(image_entries_fill(fd, &before, &regions), 0);
		after = read_image(fd);
		assert_int_equal(after.nr, sizeof(expected) / sizeof(*expected));
		for (size_t at = 0, old = 0; at < after.nr; at++) {
			const struct image_entry *entry = &after.v[at];

			assert_int_equal(entry->start, BASE + expected[at].first * page);
			assert_int_equal(entry->end, entry->start + expected[at].nr * page);
			if (old < 5 && expected[at].first == WRITTEN[old].first) {
				assert_int_equal(entry->size, before.v[old].size);
				assert_memory_equal(after.data + entry->offset, before.data + before.v[old].offset,
						    entry->size);
				old++;
			}
		}
		/* Before 4.2 it is what CRIU itself would have written. */
		wanted = image_of(expected, after.nr);
		bytes = mmap(NULL, after.size, PROT_READ, MAP_SHARED, wanted, 0);
		if (!since_4_2)
			assert_memory_equal(bytes, after.data, after.size);
		munmap(bytes, after.size);
		close(wanted);
		image_entries_fini(&before);
		image_entries_fini(&after);
		close(fd);
	}
	pagescan_regions_fini(&regions);
}

/* An entry counts its pages in 32 bits. */
static void large_regions_take_several_entries(void **state)
{
	struct pagescan_regions regions = { 0 };
	struct image_entries entries;
	int fd = image_of(NULL, 0);

	(void)state;
	add(&regions, 0, 5ul << 31);
	entries = read_image(fd);
	assert_int_equal(image_entries_fill(fd, &entries, &regions), 0);
	image_entries_fini(&entries);
	entries = read_image(fd);
	assert_int_equal(entries.nr, 5);
	assert_true(covers(&entries, 0, 5ul << 31));
	assert_false(covers(&entries, 0, (5ul << 31) + 1));
	image_entries_fini(&entries);
	pagescan_regions_fini(&regions);
	close(fd);
}

static int set_page(void **state)
{
	(void)state;
	page = pagescan_page_size();
	return 0;
}

/* For somebody who has read so much already: that stays, and what follows tells as much in fewer words. */
static void shorter_for_who_asks_what_is_held(void **state)
{
	static const struct entry long_one[] = {
		{ 10, 2, PRESENT }, { 12, 4, IN_PARENT }, { 16, 1, PRESENT | LAZY }, { 17, 3, LAZY },
		{ 20, 1, PRESENT }, { 21, 1, IN_PARENT }, { 30, 1, PRESENT },
	};
	struct image_entries whole, merged, less;
	int from = image_of(long_one, 7), to;

	(void)state;
	whole = read_image(from);
	merged = read_image(from);
	image_entries_merge(&merged);
	assert_int_equal(merged.nr, 3);
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(covers(&merged, i, 1), covers(&whole, i, 1));
	for (size_t read = 0; read <= whole.size; read++) {
		to = memfd_create("short", MFD_CLOEXEC);
		assert_int_equal(image_entries_shorten(from, read, &merged, to), 0);
		if (read <= 2 * sizeof(uint32_t)) { /* not even the head */
			close(to);
			continue;
		}
		less = read_image(to);
		assert_memory_equal(less.data, whole.data, read);
		for (uint64_t i = 0; i < 40; i++)
			assert_int_equal(covers(&less, i, 1), covers(&whole, i, 1));
		if (read <= whole.head)
			assert_int_equal(less.nr, 3);
		assert_true(less.nr <= whole.nr && less.v[0].start == BASE + 10 * page);
		image_entries_fini(&less);
		close(to);

		to = memfd_create("short", MFD_CLOEXEC);
		assert_int_equal(image_entries_shorten(from, read, NULL, to), 0);
		less = read_image(to);
		assert_true(less.size >= read && less.size < read + 32);
		assert_memory_equal(less.data, whole.data, less.size);
		image_entries_fini(&less);
		close(to);
	}
	to = memfd_create("short", MFD_CLOEXEC);
	assert_int_equal(image_entries_shorten(from, whole.size + 1, &merged, to), -EBADMSG);
	assert_int_equal(ftruncate(from, (off_t)whole.size - 1), 0);
	assert_int_equal(image_entries_shorten(from, whole.size - 1, &merged, to), -EBADMSG);
	close(to);
	close(from);
	image_entries_fini(&merged);
	image_entries_fini(&whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_parent_has),
		cmocka_unit_test(long_entries),
		cmocka_unit_test(what_is_no_image),
		cmocka_unit_test(packed_pages_stay_as_they_are),
		cmocka_unit_test(all_is_there_afterwards),
		cmocka_unit_test(large_regions_take_several_entries),
		cmocka_unit_test(shorter_for_who_asks_what_is_held),
	};

	return cmocka_run_group_tests(tests, set_page, NULL);
}
