// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's description of its types: what is asked for is found, and what is none is refused. */
#include <errno.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bind/btf.h"
#include "unit.h"

#define INFO(kind, nr) ((uint32_t)(kind) << 24 | (nr))
#define BITFIELDS      (1U << 31)

/* strings[] is "", "word", "outer", "first", "inner", "call", "odd". */
static const char strings[] = "\0word\0outer\0first\0inner\0call\0odd";
enum { WORD = 1, OUTER = 6, FIRST = 12, INNER = 18, CALL = 24, ODD = 29 };

/*
 * 1 int word; 2 struct { word inner at 32; odd at 33 }; 3 union { struct 2 }; 4 enum64; 5 struct outer { first at 0, union 3
 * at 64 }; 6 a prototype of two arguments; 7 the function call; 8 struct word { inner at 24, with bitfields }
 */
static const uint32_t types[] = {
	WORD,
	INFO(BTF_KIND_INT, 0),
	4,
	32,
	0,
	INFO(BTF_KIND_STRUCT, 2),
	12,
	INNER,
	1,
	32,
	ODD,
	1,
	33,
	0,
	INFO(BTF_KIND_UNION, 1),
	12,
	0,
	2,
	0,
	0,
	INFO(19, 1),
	8,
	0,
	7,
	7,
	OUTER,
	INFO(BTF_KIND_STRUCT, 2),
	24,
	FIRST,
	1,
	0,
	0,
	3,
	64,
	0,
	INFO(BTF_KIND_FUNC_PROTO, 2),
	0,
	0,
	1,
	0,
	1,
	CALL,
	INFO(BTF_KIND_FUNC, 0),
	6,
	WORD,
	INFO(BTF_KIND_STRUCT, 1) | BITFIELDS,
	4,
	INNER,
	1,
	8U << 24 | 24,
};

static unsigned char blob[sizeof(struct btf_header) + sizeof(types) + sizeof(strings)];
static char path[] = "/tmp/test_btf.XXXXXX";

static int make(void **state)
{
	const struct btf_header header = { .magic = BTF_MAGIC,
					   .version = BTF_VERSION,
					   .hdr_len = sizeof(header),
					   .type_len = sizeof(types),
					   .str_off = sizeof(types),
					   .str_len = sizeof(strings) };
	const int fd = mkstemp(path);

	(void)state;
	memcpy(blob, &header, sizeof(header));
	memcpy(blob + sizeof(header), types, sizeof(types));
	memcpy(blob + sizeof(header) + sizeof(types), strings, sizeof(strings));
	return fd < 0 ? -1 : close(fd);
}

static int unmake(void **state)
{
	(void)state;
	return unlink(path);
}

static int open_blob(struct btf *btf, size_t size)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(blob, 1, size, file), size);
	fclose(file);
	return btf_open(btf, path);
}

static void members_are_found_however_deep(void **state)
{
	struct btf btf;

	(void)state;
	assert_int_equal(open_blob(&btf, sizeof(blob)), 0);
	assert_int_equal(btf.nr, 8);
	assert_int_equal(btf_offset(&btf, "outer", "first"), 0);
	assert_int_equal(btf_offset(&btf, "outer", "inner"), 12);
	assert_int_equal(btf_offset(&btf, "word", "inner"), 3);
	assert_int_equal(btf_offset(&btf, "outer", "odd"), -ENOENT);
	assert_int_equal(btf_offset(&btf, "outer", "call"), -ENOENT);
	assert_int_equal(btf_offset(&btf, "nothing", "first"), -ENOENT);
	btf_close(&btf);
}

static void functions_are_found(void **state)
{
	struct btf btf;

	(void)state;
	assert_int_equal(open_blob(&btf, sizeof(blob)), 0);
	assert_int_equal(btf_function(&btf, "call"), 7);
	assert_int_equal(btf_function(&btf, "outer"), -ENOENT);
	btf_close(&btf);
}

static void what_is_cut_off_is_refused(void **state)
{
	struct btf btf;

	(void)state;
	for (size_t size = 0; size < sizeof(blob); size++)
		assert_int_equal(open_blob(&btf, size), -EINVAL);
}

static void a_kind_that_is_not_known_is_refused(void **state)
{
	uint32_t *info = (uint32_t *)(blob + sizeof(struct btf_header) + 4);
	struct btf btf;

	(void)state;
	*info = INFO(29, 0);
	assert_int_equal(open_blob(&btf, sizeof(blob)), -EOPNOTSUPP);
	*info = types[1];
}

/* Whatever it says, nothing outside of it is looked at (the sanitizers see that), and there is an end. */
static void any_content_is_survived(void **state)
{
	unsigned char good[sizeof(blob)];
	uint64_t random = 7;

	(void)state;
	memcpy(good, blob, sizeof(blob));
	for (int i = 0; i < 20000; i++) {
		struct btf btf;

		for (uint64_t n = next_random(&random) % 4 + 1; n; n--)
			blob[next_random(&random) % sizeof(blob)] = (unsigned char)next_random(&random);
		if (!open_blob(&btf, sizeof(blob))) {
			(void)btf_offset(&btf, "outer", "inner");
			(void)btf_function(&btf, "call");
			btf_close(&btf);
		}
		memcpy(blob, good, sizeof(blob));
	}
}

static void a_kernel_without_it_is_told(void **state)
{
	struct btf btf;

	(void)state;
	assert_int_equal(btf_open(&btf, "/nonexistent"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_found_however_deep), cmocka_unit_test(functions_are_found),
		cmocka_unit_test(what_is_cut_off_is_refused),	  cmocka_unit_test(a_kind_that_is_not_known_is_refused),
		cmocka_unit_test(any_content_is_survived),	  cmocka_unit_test(a_kernel_without_it_is_told),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
