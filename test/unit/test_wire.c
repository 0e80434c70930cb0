// SPDX-License-Identifier: GPL-2.0-only
/* Images over the wire: what one end sends the other one has, and nothing that is said makes it write elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "move/receive.h"
#include "move/send.h"
#include "unit.h"

#define PAGE 4096UL

/* Two ends of one wire, and a directory. */
struct ends {
	struct wire source;
	struct wire destination;
	struct receive receive;
	char path[32];
	int base;
};

static int set_up(void **state)
{
	struct ends *ends = calloc(1, sizeof(*ends));
	int socks[2];

	*state = ends;
	strcpy(ends->path, "/tmp/test_wire.XXXXXX");
	if (!mkdtemp(ends->path) || socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
		return -1;
	for (int i = 0; i < 2; i++) {
		const int size = 8 << 20;

		/* What a test sends before it receives has room. */
		setsockopt(socks[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	}
	ends->base = open(ends->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return wire_init(&ends->source, socks[0], socks[0], 2000) ||
	       wire_init(&ends->destination, socks[1], socks[1], 2000) || receive_init(&ends->receive, ends->base);
}

static int tear_down(void **state)
{
	struct ends *ends = *state;
	char command[64];

	receive_fini(&ends->receive);
	close(ends->source.in);
	close(ends->destination.in);
	wire_fini(&ends->source);
	wire_fini(&ends->destination);
	close(ends->base);
	snprintf(command, sizeof(command), "rm -r %s", ends->path);
	assert_int_equal(system(command), 0);
	free(ends);
	return 0;
}

static void say(struct ends *ends, enum wire_type type, const void *data, size_t len)
{
	struct reason why;

	assert_int_equal(wire_send(&ends->source, type, NULL, 0, data, len, &why), 0);
}

/* Take what was sent, up to a frame of the @last type. Returns 0 or the first error. */
static int take(struct ends *ends, enum wire_type last)
{
	struct reason why;
	int type, err = 0;

	do {
		type = wire_receive(&ends->destination, &why);
		if (type < 0)
			return type;
		err = receive_frame(&ends->receive, &ends->destination, (enum wire_type)type, &why);
	} while (!err && type != (int)last);
	if (err)
		assert_true(why.text[0]);
	return err;
}

static void begin_round(struct ends *ends, uint32_t number)
{
	say(ends, WIRE_ROUND, &number, sizeof(number));
}

static void frames_come_as_they_went(void **state)
{
	struct ends *ends = *state;
	struct reason why;

	assert_int_equal(wire_send(&ends->source, WIRE_TAKEN, "1234", 4, "567890ab", 8, &why), 0);
	assert_int_equal(wire_receive(&ends->destination, &why), WIRE_TAKEN);
	assert_int_equal(ends->destination.len, 12);
	assert_string_equal(ends->destination.buffer, "1234567890ab");
	assert_int_equal(wire_number(&ends->destination, 0, 4), 0x34333231);
	assert_int_equal(wire_number(&ends->destination, 9, 4), 0);
	assert_int_equal(wire_say(&ends->source, WIRE_NOTE, "", &why), 0);
	assert_int_equal(wire_receive(&ends->destination, &why), WIRE_NOTE);
	assert_int_equal(ends->destination.len, 0);
}

static void what_is_no_frame_is_refused(void **state)
{
	static const uint64_t bad[][2] = {
		{ 0, 0 },
		{ 99, 0 },
		{ WIRE_NOTE | 1UL << 40, 0 },
		{ WIRE_NOTE, WIRE_MAX + 1 },
		{ WIRE_NOTE, UINT64_MAX },
	};
	struct ends *ends = *state;
	struct reason why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(write(ends->source.out, bad[i], 16), 16);
		assert_int_equal(wire_receive(&ends->destination, &why), -EPROTO);
	}
	assert_int_equal(write(ends->source.out, "xxx", 3), 3);
	shutdown(ends->source.out, SHUT_WR);
	assert_int_equal(wire_receive(&ends->destination, &why), -ECONNRESET);
}

static void silence_is_an_error_after_a_while(void **state)
{
	struct ends *ends = *state;
	struct reason why;

	ends->destination.patience = 10;
	assert_int_equal(wire_receive(&ends->destination, &why), -ETIMEDOUT);
	fcntl(ends->source.out, F_SETFL, O_NONBLOCK);
	ends->source.patience = 10;
	for (int i = 0, err = 0; !err; i++) {
		err = wire_send(&ends->source, WIRE_NOTE, NULL, 0, ends->source.buffer, 1 << 20, &why);
		assert_true(!err || err == -ETIMEDOUT);
		assert_true(i < 100);
	}
}

static void both_have_to_be_alike(void **state)
{
	struct ends *ends = *state;
	struct wire_hello hello = { WIRE_VERSION + 1, PAGE, "x86_64" };
	struct reason why;

	say(ends, WIRE_HELLO, &hello, sizeof(hello));
	assert_int_equal(wire_hello(&ends->destination, &why), -EPROTO);
	hello.version = WIRE_VERSION;
	hello.page_size = 1;
	say(ends, WIRE_HELLO, &hello, sizeof(hello));
	assert_int_equal(wire_hello(&ends->destination, &why), -EPROTO);
	say(ends, WIRE_HELLO, "hello", 5);
	assert_int_equal(wire_hello(&ends->destination, &why), -EPROTO);
	say(ends, WIRE_GO, NULL, 0);
	assert_int_equal(wire_hello(&ends->destination, &why), -EPROTO);
}

/* A round from a sink and a directory, with and without compression. */
static void send_a_round(struct ends *ends, bool compress)
{
	unsigned char pages[4 * PAGE] = { 0 }, got[4 * PAGE];
	struct pagescan_region run = { .start = 0x10000, .end = 0x10000 + sizeof(pages), .categories = LIVE_COPY };
	struct chunk chunk = { .runs = &run, .nr = 1, .buffer = pages, .bytes = sizeof(pages) };
	int dir = (mkdirat(ends->base, "source", 0700), openat(ends->base, "source", O_RDONLY | O_DIRECTORY));
	uint64_t random = 3;
	struct files files;
	struct reason why;
	struct send send;
	struct stat st;
	int fd;

	memset(pages, 'a', PAGE);
	for (size_t i = 0; i < PAGE; i++)
		pages[2 * PAGE + i] = (unsigned char)next_random(&random);
	files_init(&files, dir);
	send_init(&send, &ends->source, compress);
	assert_int_equal(send_round(&send, &files, 1, &why), 0);
	assert_int_equal(send.sink.begin(&send.sink, 5, &why), 0);
	assert_int_equal(send.sink.take(&send.sink, &chunk, &why), 0);
	assert_int_equal(send.sink.store(&send.sink, &chunk, &why), 0);
	assert_int_equal(send.sink.end(&send.sink, &why), 0);
	assert_int_equal(send.sink.begin(&send.sink, 6, &why), 0);
	send.sink.abandon(&send.sink);
	assert_int_equal(symlinkat("../0", dir, "parent"), 0);
	assert_int_equal(send_directory(&send, dir, true, WIRE_ROUND_END, &why), 0);
	assert_int_equal(take(ends, WIRE_ROUND_END), 0);

	fd = openat(ends->base, "1/pages-1.img", O_RDONLY);
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, pages, sizeof(pages));
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < (blkcnt_t)sizeof(pages));
	close(fd);
	assert_int_equal(faccessat(ends->base, "1/pagemap-5.img", F_OK, 0), 0);
	assert_int_equal(faccessat(ends->base, "1/pages-2.img", F_OK, 0), -1);
	assert_int_equal(faccessat(ends->base, "1/pagemap-6.img", F_OK, 0), -1);
	assert_int_equal(faccessat(ends->base, "1/parent", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	/* What stays here has its size and nothing in it. */
	assert_int_equal(fstatat(dir, "pages-1.img", &st, 0), 0);
	assert_int_equal(st.st_size, sizeof(pages));
	assert_int_equal(st.st_blocks, 0);
	if (compress)
		assert_true(send.bytes < 2 * PAGE + 1024);
	close(dir);
}

static void a_round_arrives(void **state)
{
	send_a_round(*state, false);
}

static void a_round_arrives_compressed(void **state)
{
	send_a_round(*state, true);
}

/* Images of before in the directory "held" of the destination: these pages, in two rounds. */
static void hold(const struct ends *ends, const unsigned char *pages, size_t first, size_t second)
{
	static const char *const names[] = { "held/1/pages-1.img", "held/2/pages-7.img" };
	const size_t sizes[] = { first, second };

	mkdirat(ends->base, "held", 0700);
	mkdirat(ends->base, "held/1", 0700);
	mkdirat(ends->base, "held/2", 0700);
	assert_int_equal(symlinkat("2", ends->base, "held/last"), 0);
	for (int i = 0; i < 2; i++) {
		int fd = openat(ends->base, names[i], O_WRONLY | O_CREAT | O_EXCL, 0600);

		assert_int_equal(write(fd, pages, sizes[i]), sizes[i]);
		pages += sizes[i];
		close(fd);
	}
}

/* The destination offers them, the source hears of it. */
static void offer(struct ends *ends, struct known *there, struct known *here)
{
	struct reason why;
	char path[64];
	int type, more = 1;

	snprintf(path, sizeof(path), "%s/held", ends->path);
	assert_int_equal(known_offer(there, path, &ends->destination, &why), 0);
	assert_int_equal(digest_load(&why), 0);
	while (more) {
		type = wire_receive(&ends->source, &why);
		assert_true(type == WIRE_NOTE || type == WIRE_KNOWN);
		more = type == WIRE_NOTE || known_hear(here, &ends->source, &why);
	}
	ends->receive.known = there;
}

/* Pages a, b and c; what stands in "held" is a b a, and of no use: zeros, and half a page. */
static void fill(unsigned char pages[6 * PAGE], unsigned char held[5 * PAGE])
{
	const char letters[] = { 'a', 'c', 'b', 0, 'a', 'c' };

	for (size_t i = 0; i < sizeof(letters); i++)
		memset(pages + i * PAGE, letters[i], PAGE);
	memset(held, 0, 5 * PAGE);
	memset(held, 'a', PAGE);
	memset(held + PAGE, 'b', PAGE);
	memset(held + 3 * PAGE, 'a', PAGE);
	memset(held + 4 * PAGE, 'c', PAGE / 2);
}

static void what_is_there_already_is_not_sent(void **state)
{
	struct ends *ends = *state;
	struct known there = { .dir = -1 }, here = { .dir = -1 };
	unsigned char pages[6 * PAGE], held[5 * PAGE], got[6 * PAGE];
	struct pagescan_region run = { .start = 0x10000, .end = 0x10000 + sizeof(pages), .categories = LIVE_COPY };
	struct chunk chunk = { .runs = &run, .nr = 1, .buffer = pages, .bytes = sizeof(pages) };
	int dir = (mkdirat(ends->base, "source", 0700), openat(ends->base, "source", O_RDONLY | O_DIRECTORY)), fd;
	struct files files;
	struct reason why;
	struct send send;

	fill(pages, held);
	hold(ends, held, 2 * PAGE, 2 * PAGE + PAGE / 2);
	offer(ends, &there, &here);
	assert_int_equal(here.nr, 2);
	files_init(&files, dir);
	send_init(&send, &ends->source, false);
	send.known = &here;
	assert_int_equal(send_round(&send, &files, 1, &why), 0);
	assert_int_equal(send.sink.begin(&send.sink, 5, &why), 0);
	assert_int_equal(send.sink.take(&send.sink, &chunk, &why), 0);
	assert_int_equal(send.sink.store(&send.sink, &chunk, &why), 0);
	assert_int_equal(chunk.spared, 3 * PAGE);
	assert_true(send.bytes >= 2 * PAGE && send.bytes < 2 * PAGE + 4 * DIGEST);
	assert_int_equal(send.sink.end(&send.sink, &why), 0);
	assert_int_equal(send_directory(&send, dir, true, WIRE_ROUND_END, &why), 0);
	assert_int_equal(take(ends, WIRE_ROUND_END), 0);
	fd = openat(ends->base, "1/pages-1.img", O_RDONLY);
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, pages, sizeof(pages));
	close(fd);
	close(dir);
	known_fini(&there);
	known_fini(&here);
}

/* A page that is told by its digest: of offset 0 in file 1. */
static void say_same(struct ends *ends, const unsigned char *digests, size_t len)
{
	struct reason why;

	assert_int_equal(wire_send(&ends->source, WIRE_SAME, "\0\0\0\0\0\0\0\0\1\0\0", 12, digests, len, &why), 0);
}

static void what_is_there_is_what_was_offered(void **state)
{
	struct ends *ends = *state;
	struct known there = { .dir = -1 }, here = { .dir = -1 };
	unsigned char pages[6 * PAGE], held[5 * PAGE], a[DIGEST], c[DIGEST];
	int fd;

	fill(pages, held);
	hold(ends, held, 2 * PAGE, 0);
	begin_round(ends, 1);
	say(ends, WIRE_FILE, "pages-1.img", 11);
	assert_int_equal(take(ends, WIRE_FILE), 0);
	memset(c, 0, sizeof(c));
	say_same(ends, c, sizeof(c));
	assert_int_equal(take(ends, WIRE_SAME), -EPROTO); /* there is no base */
	offer(ends, &there, &here);
	assert_true(digest(pages, PAGE, a) && digest(pages + PAGE, PAGE, c));
	assert_true(known_has(&here, a) && !known_has(&here, c));
	say_same(ends, a, sizeof(a));
	assert_int_equal(take(ends, WIRE_SAME), 0);
	say_same(ends, c, sizeof(c));
	assert_int_equal(take(ends, WIRE_SAME), -EPROTO);
	say_same(ends, a, sizeof(a) - 1);
	assert_int_equal(take(ends, WIRE_SAME), -EPROTO);
	/* Somebody has written to them since. */
	fd = openat(ends->base, "held/1/pages-1.img", O_WRONLY);
	assert_int_equal(pwrite(fd, "A", 1, PAGE - 1), 1);
	say_same(ends, a, sizeof(a));
	assert_int_equal(take(ends, WIRE_SAME), -ESTALE);
	assert_int_equal(ftruncate(fd, 0), 0);
	say_same(ends, a, sizeof(a));
	assert_int_equal(take(ends, WIRE_SAME), -ESTALE);
	close(fd);
	known_fini(&there);
	known_fini(&here);
}

static void an_offer_makes_sense(void **state)
{
	struct ends *ends = *state;
	struct known here = { .dir = -1 };
	unsigned char two[2 * DIGEST] = { 0 };
	struct reason why;

	two[DIGEST] = 1;
	say(ends, WIRE_KNOWN, two, sizeof(two) - 1);
	assert_int_equal(wire_receive(&ends->destination, &why), WIRE_KNOWN);
	assert_int_equal(known_hear(&here, &ends->destination, &why), -EPROTO);
	say(ends, WIRE_KNOWN, two, sizeof(two));
	assert_int_equal(wire_receive(&ends->destination, &why), WIRE_KNOWN);
	assert_int_equal(known_hear(&here, &ends->destination, &why), 1);
	assert_int_equal(known_hear(&here, &ends->destination, &why), -EPROTO); /* from the beginning */
	known_fini(&here);
}

static void the_parent_is_the_round_before(void **state)
{
	struct ends *ends = *state;
	char target[16] = "";

	for (uint32_t round = 1; round <= 2; round++) {
		begin_round(ends, round);
		if (round > 1)
			say(ends, WIRE_PARENT, NULL, 0);
		say(ends, WIRE_ROUND_END, NULL, 0);
		assert_int_equal(take(ends, WIRE_ROUND_END), 0);
	}
	assert_int_equal(readlinkat(ends->base, "2/parent", target, sizeof(target) - 1), 4);
	assert_string_equal(target, "../1");
}

static void a_name_is_one_of_crius(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../x", "/x", "a/b", ".x", "parent", "a b", "a\nb" };
	struct ends *ends = *state;
	char name[300];

	begin_round(ends, 1);
	assert_int_equal(take(ends, WIRE_ROUND), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		say(ends, WIRE_FILE, bad[i], strlen(bad[i]));
		assert_int_equal(take(ends, WIRE_FILE), -EPROTO);
	}
	say(ends, WIRE_FILE, "x\0y", 3);
	assert_int_equal(take(ends, WIRE_FILE), -EPROTO);
	memset(name, 'x', sizeof(name));
	say(ends, WIRE_FILE, name, sizeof(name));
	assert_int_equal(take(ends, WIRE_FILE), -EPROTO);
	say(ends, WIRE_FILE, "core-1.img", 10);
	assert_int_equal(take(ends, WIRE_FILE), 0);
}

/* Each of these, said when it makes no sense. */
static void what_makes_no_sense_is_refused(void **state)
{
	struct ends *ends = *state;
	const uint64_t far[2] = { INT64_MAX, 1 };
	const uint64_t end[2] = { 0, UINT64_MAX }, too_much[2] = { 1, 0 };
	const uint32_t second = 2;

	for (int type = WIRE_FILE; type <= WIRE_LAST; type++) {
		say(ends, (enum wire_type)type, "12345678", 8);
		assert_int_equal(take(ends, (enum wire_type)type), -EPROTO);
	}
	say(ends, WIRE_ROUND, &second, sizeof(second));
	assert_int_equal(take(ends, WIRE_ROUND), -EPROTO);
	say(ends, WIRE_READY, NULL, 0);
	assert_int_equal(take(ends, WIRE_READY), -EPROTO);
	begin_round(ends, 1);
	assert_int_equal(take(ends, WIRE_ROUND), 0);
	say(ends, WIRE_PARENT, NULL, 0);
	assert_int_equal(take(ends, WIRE_PARENT), -EPROTO);
	say(ends, WIRE_FILE, "a", 1);
	assert_int_equal(take(ends, WIRE_FILE), 0);
	say(ends, WIRE_FILE, "b", 1);
	assert_int_equal(take(ends, WIRE_FILE), -EPROTO);
	say(ends, WIRE_ROUND_END, NULL, 0);
	assert_int_equal(take(ends, WIRE_ROUND_END), -EPROTO);
	say(ends, WIRE_DATA, "\0\0\0\0\0\0\0\0\1\0\0", 11);
	assert_int_equal(take(ends, WIRE_DATA), -EPROTO);
	say(ends, WIRE_DATA, "\0\0\0\0\0\0\0\0\0\0\0\0x", 13);
	assert_int_equal(take(ends, WIRE_DATA), -EPROTO);
	say(ends, WIRE_DATA, "\0\0\0\0\0\0\0\0\2\0\0\0x", 13);
	assert_int_equal(take(ends, WIRE_DATA), -EPROTO);
	say(ends, WIRE_DATA, far, sizeof(far));
	assert_int_equal(take(ends, WIRE_DATA), -EPROTO);
	say(ends, WIRE_LZ4, "\0\0\0\0\0\0\0\0\1\0\0\0\x10\0\0\0 rubbish", 24);
	assert_int_equal(take(ends, WIRE_LZ4), -EPROTO);
	say(ends, WIRE_FILE_END, end, sizeof(end));
	assert_int_equal(take(ends, WIRE_FILE_END), -EPROTO);
	say(ends, WIRE_FILE_END, too_much, sizeof(too_much));
	assert_int_equal(take(ends, WIRE_FILE_END), -EPROTO);
	say(ends, WIRE_FILE_END, end, 8);
	assert_int_equal(take(ends, WIRE_FILE_END), -EPROTO);
	say(ends, WIRE_FILE_DROP, end, 8);
	assert_int_equal(take(ends, WIRE_FILE_DROP), 0);
	say(ends, WIRE_FILE_END, too_much + 1, 8);
	assert_int_equal(take(ends, WIRE_FILE_END), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frames_come_as_they_went, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_frame_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(silence_is_an_error_after_a_while, set_up, tear_down),
		cmocka_unit_test_setup_teardown(both_have_to_be_alike, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_round_arrives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_round_arrives_compressed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_there_already_is_not_sent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_there_is_what_was_offered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_offer_makes_sense, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_parent_is_the_round_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_name_is_one_of_crius, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
