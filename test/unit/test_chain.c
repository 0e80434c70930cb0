// SPDX-License-Identifier: GPL-2.0-only
/*
 * Images as CRIU leaves them, written here byte by byte: which file holds a page, what images that lie do to the
 * reader, and that the audit sees one wrong byte and one missing page among many good ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/audit.h"
#include "images.pb-c.h"
#include "unit.h"

#define PID	  77
#define BASE	  0x7f0000000000ul
#define IN_PARENT 1
#define LAZY	  2
#define PRESENT	  4

struct entry {
	size_t first; /* page, from BASE on */
	size_t nr;
	int flags;
};

static char root[] = "/tmp/test_chain.XXXXXX";
static uint64_t page;

static void put_message(FILE *file, const ProtobufCMessage *message)
{
	uint8_t buf[256];
	uint32_t len = (uint32_t)protobuf_c_message_pack(message, buf);

	assert_int_equal(fwrite(&len, sizeof(len), 1, file), 1);
	assert_int_equal(fwrite(buf, 1, len, file), len);
}

static FILE *create(const char *dir, const char *format, int number)
{
	char path[160], name[32];
	FILE *file;

	snprintf(name, sizeof(name), format, number);
	snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	return file;
}

static void make_dir(const char *dir, const char *parent)
{
	char path[160], target[160];

	snprintf(path, sizeof(path), "%s/%s", root, dir);
	assert_int_equal(mkdir(path, 0700), 0);
	if (!parent)
		return;
	snprintf(path, sizeof(path), "%s/%s/parent", root, dir);
	snprintf(target, sizeof(target), "../%s", parent);
	assert_int_equal(symlink(target, path), 0);
}

static FILE *begin_pagemap(const char *dir, int pid, uint32_t pages_id)
{
	const uint32_t magic[2] = { 0x54564319, 0x56084025 };
	Images__PagemapHead head = IMAGES__PAGEMAP_HEAD__INIT;
	FILE *file = create(dir, "pagemap-%d.img", pid);

	assert_int_equal(fwrite(magic, sizeof(magic), 1, file), 1);
	head.pages_id = pages_id;
	put_message(file, &head.base);
	return file;
}

/* Every page of the file is filled with @fill. */
static void make_images(const char *dir, const char *parent, char fill, const struct entry *entries, size_t nr)
{
	FILE *pagemap, *pages;

	make_dir(dir, parent);
	pagemap = begin_pagemap(dir, PID, 5);
	pages = create(dir, "pages-%d.img", 5);
	for (size_t i = 0; i < nr; i++) {
		Images__PagemapEntry entry = IMAGES__PAGEMAP_ENTRY__INIT;

		entry.vaddr = BASE + entries[i].first * page;
		entry.short_nr_pages = (uint32_t)entries[i].nr;
		entry.has_flags = true;
		entry.flags = (uint32_t)entries[i].flags;
		put_message(pagemap, &entry.base);
		for (size_t byte = 0; entries[i].flags & PRESENT && byte < entries[i].nr * page; byte++)
			fputc(fill, pages);
	}
	fclose(pagemap);
	fclose(pages);
}

static int open_chain(struct chain *chain, const char *dir)
{
	char path[160];
	struct reason why = { "" };
	int err;

	snprintf(path, sizeof(path), "%s/%s", root, dir);
	err = chain_open(chain, AT_FDCWD, path, PID, &why);
	assert_true(!err == !why.text[0]);
	return err;
}

/* What the chain has at a page: its first byte, or a negative errno. */
static int byte_at(const struct chain *chain, size_t nr, uint64_t *pages)
{
	struct chain_piece piece;
	char byte;
	int err = chain_find(chain, BASE + nr * page, &piece);

	if (err)
		return err;
	assert_int_equal(pread(piece.fd, &byte, 1, (off_t)piece.offset), 1);
	*pages = (piece.end - BASE) / page - nr;
	return byte;
}

static void a_page_is_found_in_the_youngest_layer_that_has_it(void **state)
{
	const struct entry old[] = { { 0, 10, PRESENT }, { 20, 5, PRESENT } };
	const struct entry middle[] = { { 0, 4, IN_PARENT }, { 4, 2, PRESENT | LAZY }, { 6, 4, IN_PARENT } };
	const struct entry young[] = { { 0, 5, IN_PARENT }, { 5, 1, PRESENT },	{ 6, 2, IN_PARENT },
				       { 30, 1, LAZY },	    { 31, 1, PRESENT }, { 40, 1, IN_PARENT } };
	struct chain chain;
	uint64_t pages;

	(void)state;
	make_images("a1", NULL, 'a', old, 2);
	make_images("a2", "a1", 'b', middle, 3);
	make_images("a3", "a2", 'c', young, 6);
	assert_int_equal(open_chain(&chain, "a3"), 0);
	assert_int_equal(byte_at(&chain, 0, &pages), 'a');
	assert_int_equal(pages, 4); /* as far as the narrowest layer says */
	assert_int_equal(byte_at(&chain, 4, &pages), 'b');
	assert_int_equal(pages, 1);
	assert_int_equal(byte_at(&chain, 5, &pages), 'c');
	assert_int_equal(byte_at(&chain, 7, &pages), 'a');
	assert_int_equal(pages, 1);
	assert_int_equal(byte_at(&chain, 8, &pages), -ENOENT); /* the youngest says nothing of it */
	assert_int_equal(byte_at(&chain, 20, &pages), -ENOENT);
	assert_int_equal(byte_at(&chain, 30, &pages), -ENOENT); /* to be fetched from elsewhere */
	assert_int_equal(byte_at(&chain, 31, &pages), 'c');	/* takes the file's next page nevertheless */
	assert_int_equal(byte_at(&chain, 40, &pages), -ENOENT); /* promised, but nobody has it */
	chain_close(&chain);
}

static void images_of_older_criu_are_read(void **state)
{
	Images__PagemapEntry entry = IMAGES__PAGEMAP_ENTRY__INIT;
	struct chain chain;
	uint64_t pages;
	FILE *file;

	(void)state;
	make_images("b1", NULL, 'a', (const struct entry[]){ { 0, 3, PRESENT } }, 1);
	make_images("b2", "b1", 'b', (const struct entry[]){ { 9, 1, PRESENT } }, 1);
	file = begin_pagemap("b2", PID, 5);
	entry.vaddr = BASE; /* no flags: in_parent tells */
	entry.short_nr_pages = 2;
	entry.has_in_parent = entry.in_parent = true;
	put_message(file, &entry.base);
	entry.vaddr = BASE + 2 * page;
	entry.has_in_parent = false;
	entry.has_nr_pages = true; /* and of newer: the long number */
	entry.nr_pages = 1;
	entry.short_nr_pages = 0;
	put_message(file, &entry.base);
	fclose(file);
	assert_int_equal(open_chain(&chain, "b2"), 0);
	assert_int_equal(byte_at(&chain, 1, &pages), 'a');
	assert_int_equal(byte_at(&chain, 2, &pages), 'b');
	chain_close(&chain);
}

static void a_layer_without_the_task_ends_the_chain(void **state)
{
	struct chain chain;

	(void)state;
	make_dir("c1", NULL);
	make_images("c2", "c1", 'b', (const struct entry[]){ { 0, 1, PRESENT } }, 1);
	assert_int_equal(open_chain(&chain, "c2"), 0);
	assert_int_equal(chain.nr, 1);
	chain_close(&chain);
	assert_int_equal(open_chain(&chain, "c1"), -ENOENT);
	assert_int_equal(open_chain(&chain, "nowhere"), -ENOENT);
}

static void images_that_lie_are_refused(void **state)
{
	static const struct {
		struct entry entries[2];
		int err;
	} lies[] = {
		{ { { 5, 2, PRESENT }, { 6, 1, PRESENT } }, -EBADMSG },		/* overlap */
		{ { { 5, 2, PRESENT }, { 1, 1, PRESENT } }, -EBADMSG },		/* out of order */
		{ { { 5, 2, PRESENT }, { 9, 1, 64 | PRESENT } }, -EOPNOTSUPP }, /* a flag of the future */
		{ { { 5, 2, PRESENT }, { 9, 1, 8 | PRESENT } }, -EOPNOTSUPP }, /* at the border of a page of the file */
	};
	Images__PagemapEntry entry = IMAGES__PAGEMAP_ENTRY__INIT;
	struct chain chain;
	char dir[8];
	FILE *file;

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(dir, sizeof(dir), "d%d", i);
		make_images(dir, NULL, 'a', lies[i].entries, 2);
		assert_int_equal(open_chain(&chain, dir), lies[i].err);
	}

	make_images("d9", NULL, 'a', NULL, 0);
	entry.has_nr_pages = true;
	for (int i = 0; i < 3; i++) {
		entry.vaddr = i == 0 ? BASE + 1 : BASE;
		entry.nr_pages = i == 0 ? 1 : i == 1 ? UINT64_MAX / page : UINT64_MAX;
		file = begin_pagemap("d9", PID, 5);
		put_message(file, &entry.base);
		fclose(file);
		assert_int_equal(open_chain(&chain, "d9"), -EBADMSG);
	}
	file = begin_pagemap("d9", PID, 6); /* there are no such pages */
	fclose(file);
	assert_int_equal(open_chain(&chain, "d9"), -EBADMSG);
	file = begin_pagemap("d9", PID, 5);
	fputs("trailing", file);
	fclose(file);
	assert_int_equal(open_chain(&chain, "d9"), -EBADMSG);
	file = create("d9", "pagemap-%d.img", PID);
	fclose(file);
	assert_int_equal(open_chain(&chain, "d9"), -EBADMSG);
}

/* A message that is longer than its fields: @more bytes of a field of the future. */
static void put_with(FILE *file, const ProtobufCMessage *message, const uint8_t *more, size_t len)
{
	uint8_t buf[64];
	uint32_t size = (uint32_t)protobuf_c_message_pack(message, buf);
	uint32_t whole = size + (uint32_t)len;

	assert_int_equal(fwrite(&whole, sizeof(whole), 1, file), 1);
	assert_int_equal(fwrite(buf, 1, size, file), size);
	if (len)
		assert_int_equal(fwrite(more, 1, len, file), len);
}

/* One page that is present, behind a head; both with what follows them. */
static void make_page_with(const char *dir, const uint8_t *head_more, size_t head_len, const uint8_t *more, size_t len)
{
	const uint32_t magic[2] = { 0x54564319, 0x56084025 };
	Images__PagemapEntry entry = IMAGES__PAGEMAP_ENTRY__INIT;
	Images__PagemapHead head = IMAGES__PAGEMAP_HEAD__INIT;
	FILE *file = create(dir, "pagemap-%d.img", PID);

	assert_int_equal(fwrite(magic, sizeof(magic), 1, file), 1);
	head.pages_id = 5;
	put_with(file, &head.base, head_more, head_len);
	entry.vaddr = BASE;
	entry.short_nr_pages = 1;
	entry.has_flags = true;
	entry.flags = PRESENT;
	put_with(file, &entry.base, more, len);
	fclose(file);
}

/* Images of a CRIU that compresses pages: field 6, or 6 and 7, and of many pages a long one; and what nobody knows yet. */
static void fields_that_are_not_known_are_refused(void **state)
{
	const uint8_t sizes[] = { 6 << 3, 100, 7 << 3, 100 }, blocks[] = { 6 << 3 | 2, 2, 2 << 3, 100 };
	uint8_t many[3 + 5000] = { 6 << 3 | 2, (5000 & 0x7f) | 0x80, 5000 >> 7 };
	struct chain chain;
	uint64_t pages;

	(void)state;
	make_images("g1", NULL, 'a', (const struct entry[]){ { 0, 1, PRESENT } }, 1);
	make_page_with("g1", NULL, 0, sizes, sizeof(sizes));
	assert_int_equal(open_chain(&chain, "g1"), -EOPNOTSUPP);
	make_page_with("g1", NULL, 0, blocks, sizeof(blocks));
	assert_int_equal(open_chain(&chain, "g1"), -EOPNOTSUPP);
	make_page_with("g1", NULL, 0, many, sizeof(many));
	assert_int_equal(open_chain(&chain, "g1"), -EOPNOTSUPP);
	make_page_with("g1", sizes, 2, NULL, 0);
	assert_int_equal(open_chain(&chain, "g1"), -EOPNOTSUPP);
	make_page_with("g1", NULL, 0, NULL, 0);
	assert_int_equal(open_chain(&chain, "g1"), 0);
	assert_int_equal(byte_at(&chain, 0, &pages), 'a');
	chain_close(&chain);
}

static void a_version_that_is_not_known_is_refused(void **state)
{
	const uint32_t magic = 0x58313116;
	Images__Inventory inventory = IMAGES__INVENTORY__INIT;
	struct chain chain;

	(void)state;
	make_images("h1", NULL, 'a', (const struct entry[]){ { 0, 1, PRESENT } }, 1);
	for (uint32_t version = 0; version < 5; version++) {
		/* The rest of an inventory is not of interest: CRIU adds to it now and then. */
		const uint8_t more[] = { 15 << 3, 1 };
		FILE *file = create("h1", "inventory.img", 0);

		assert_int_equal(fwrite(&magic, sizeof(magic), 1, file), 1);
		inventory.img_version = version;
		put_with(file, &inventory.base, more, sizeof(more));
		fclose(file);
		assert_int_equal(open_chain(&chain, "h1"), version <= 2 ? 0 : -EOPNOTSUPP);
		if (version <= 2)
			chain_close(&chain);
	}
	fclose(create("h1", "inventory.img", 0));
	assert_int_equal(open_chain(&chain, "h1"), -EBADMSG);
}

/* Pages that do not lie one after the other, for a reason that nobody told. */
static void pages_that_do_not_add_up_are_refused(void **state)
{
	struct chain chain;
	char path[160];

	(void)state;
	make_images("i1", NULL, 'a', (const struct entry[]){ { 0, 3, PRESENT }, { 5, 2, IN_PARENT } }, 2);
	snprintf(path, sizeof(path), "%s/i1/pages-5.img", root);
	for (int pages = 2; pages <= 4; pages++) {
		assert_int_equal(truncate(path, (off_t)(pages * page)), 0);
		assert_int_equal(open_chain(&chain, "i1"), pages == 3 ? 0 : -EBADMSG);
		if (pages == 3)
			chain_close(&chain);
	}
}

static void a_parent_that_is_its_own_child_ends(void **state)
{
	struct chain chain;

	(void)state;
	make_images("e1", "e1", 'a', (const struct entry[]){ { 0, 1, PRESENT } }, 1);
	assert_int_equal(open_chain(&chain, "e1"), -ELOOP);
}

/* This process's own memory, and images of it under the pid that it has. */
static void one_wrong_byte_and_one_missing_page_are_seen(void **state)
{
	const size_t nr = 300, wrong = 123, missing = 200;
	char *memory = mmap(NULL, nr * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pagescan_region answer[] = { { (uintptr_t)memory, (uintptr_t)memory + wrong * page, PAGESCAN_PRESENT },
					    { (uintptr_t)memory + wrong * page, (uintptr_t)memory + (wrong + 1) * page,
					      PAGESCAN_PRESENT | PAGESCAN_SOFT_DIRTY } };
	Images__PagemapEntry entry = IMAGES__PAGEMAP_ENTRY__INIT;
	int proc_dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	uint64_t start = (uintptr_t)memory;
	char path[160], text[64];
	struct audit audit;
	struct reason why;
	FILE *file;

	(void)state;
	for (size_t i = 0; i < nr * page; i++)
		memory[i] = (char)(i / page * 7 + i);
	make_images("f1", NULL, 0, NULL, 0);
	file = create("f1", "pages-%d.img", 5);
	assert_int_equal(fwrite(memory, page, nr - 1, file), nr - 1);
	fclose(file);
	file = begin_pagemap("f1", getpid(), 5);
	entry.has_flags = true;
	entry.flags = PRESENT;
	entry.vaddr = start;
	entry.short_nr_pages = (uint32_t)missing;
	put_message(file, &entry.base);
	entry.vaddr = start + (missing + 1) * page;
	entry.short_nr_pages = (uint32_t)(nr - missing - 1);
	put_message(file, &entry.base);
	fclose(file);
	memmove(memory + (missing + 1) * page, memory + missing * page, (nr - missing - 1) * page);

	snprintf(path, sizeof(path), "%s/f1", root);
	assert_int_equal(audit_open(&audit, proc_dir, AT_FDCWD, path, &why), 0);
	assert_int_equal(audit_range(&audit, start, start + missing * page, &why), 0);
	memory[wrong * page + 17] ^= 1;
	assert_int_equal(audit_range(&audit, start, start + nr * page, &why), -EBADMSG);
	assert_int_equal(audit.compared, missing + nr);
	assert_int_equal(audit.different, 1);
	assert_int_equal(audit.missing, 1);
	snprintf(text, sizeof(text), "page %lx differs from its images: byte 17", (uintptr_t)memory + wrong * page);
	assert_non_null(strstr(why.text, text));
	assert_int_equal(audit_range(&audit, start + missing * page, start + (missing + 1) * page, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "none of its images"));
	assert_int_equal(audit_answer(&audit, answer, 2, &why), 0); /* what is told as written is not looked at */
	answer[1].categories = PAGESCAN_PRESENT;
	assert_int_equal(audit_answer(&audit, answer, 2, &why), -EBADMSG);
	assert_int_equal(truncate(strcat(path, "/pages-5.img"), (off_t)page), 0);
	assert_int_equal(audit_range(&audit, start, start + 2 * page, &why), -EIO);
	audit_close(&audit);
	close(proc_dir);
}

static int set_up(void **state)
{
	(void)state;
	page = pagescan_page_size();
	return !mkdtemp(root);
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_is_found_in_the_youngest_layer_that_has_it),
		cmocka_unit_test(images_of_older_criu_are_read),
		cmocka_unit_test(a_layer_without_the_task_ends_the_chain),
		cmocka_unit_test(images_that_lie_are_refused),
		cmocka_unit_test(fields_that_are_not_known_are_refused),
		cmocka_unit_test(a_version_that_is_not_known_is_refused),
		cmocka_unit_test(pages_that_do_not_add_up_are_refused),
		cmocka_unit_test(one_wrong_byte_and_one_missing_page_are_seen),
		cmocka_unit_test(a_parent_that_is_its_own_child_ends),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
