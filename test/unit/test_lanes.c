// SPDX-License-Identifier: GPL-2.0-only
/* Connections of their own for pages: who has the key joins and brings whole files, nobody else does or disturbs. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "move/join.h"
#include "move/lanes.h"
#include "move/send.h"
#include "unit.h"

#define LANES 3

/* Both ends. The destination's has a thread of its own, which answers one WIRE_LISTEN and then takes frames. */
struct ends {
	struct wire source;
	struct wire destination;
	struct wire out[LANES];
	struct wire_listen want;
	struct lanes lanes;
	struct receive receive;
	struct reason why;
	pthread_t thread;
	int frames[WIRE_JOINED + 1];
	int err;
	int base;
	char path[32];
};

static int set_up(void **state)
{
	struct ends *ends = calloc(1, sizeof(*ends));
	int socks[2];

	*state = ends;
	strcpy(ends->path, "/tmp/test_lanes.XXXXXX");
	if (!mkdtemp(ends->path) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
		return -1;
	ends->base = open(ends->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ends->lanes.event = -1;
	ends->want = (struct wire_listen){ .nr = LANES, .key = "a key of thirty-two random bytes" };
	return wire_init(&ends->source, socks[0], socks[0], 20000) ||
	       wire_init(&ends->destination, socks[1], socks[1], 20000) || receive_init(&ends->receive, ends->base);
}

static void hang_up(struct wire *wire)
{
	if (wire->tls)
		tls_close(wire->tls);
	wire_fini(wire);
}

static int tear_down(void **state)
{
	struct ends *ends = *state;
	char command[64];

	for (int i = 0; i < LANES; i++)
		hang_up(&ends->out[i]);
	lanes_close(&ends->lanes);
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

static void *serve(void *arg)
{
	struct ends *ends = arg;
	int type = wire_receive(&ends->destination, &ends->why);

	if (type != WIRE_LISTEN)
		return NULL;
	ends->err = lanes_open(&ends->lanes, &ends->receive, &ends->destination, &ends->why);
	while (!ends->err && type != WIRE_LAST) {
		type = wire_receive(&ends->destination, &ends->why);
		ends->err = type < 0 ?
				    type :
				    receive_frame(&ends->receive, &ends->destination, (enum wire_type)type, &ends->why);
		if (type > 0)
			ends->frames[type]++;
	}
	return NULL;
}

static void say(struct ends *ends, enum wire_type type, const void *data, size_t len)
{
	struct reason why;

	assert_int_equal(wire_send(&ends->source, type, NULL, 0, data, len, &why), 0);
}

/* Have the destination listen. */
static void ask(struct ends *ends)
{
	struct reason why;

	assert_int_equal(pthread_create(&ends->thread, NULL, serve, ends), 0);
	assert_int_equal(wire_send(&ends->source, WIRE_LISTEN, &ends->want, sizeof(ends->want), "127.0.0.1", 9, &why),
			 0);
	assert_int_equal(wire_receive(&ends->source, &why), WIRE_LISTENS);
	ends->want.port = (uint32_t)wire_number(&ends->source, 0, 4);
	assert_true(ends->want.port > 0);
}

static void join(struct ends *ends)
{
	struct reason why;

	for (int i = 0; i < LANES; i++) {
		struct tls *tls = join_connect("127.0.0.1", ends->want.port, ends->want.key, &why);

		assert_non_null(tls);
		assert_int_equal(wire_init(&ends->out[i], tls_sock(tls), tls_sock(tls), 20000), 0);
		ends->out[i].tls = tls;
	}
	assert_int_equal(wire_receive(&ends->source, &why), WIRE_JOINED);
}

static int over(struct ends *ends)
{
	assert_int_equal(pthread_join(ends->thread, NULL), 0);
	return ends->err;
}

/* A connection of somebody who may know nothing. */
static int stranger(const struct ends *ends)
{
	const struct sockaddr_in to = { AF_INET, htons((uint16_t)ends->want.port), { htonl(INADDR_LOOPBACK) }, "" };
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!connect(sock, (const struct sockaddr *)&to, sizeof(to)))
		return sock;
	close(sock);
	return -errno;
}

static void send_pages(struct ends *ends, bool compress)
{
	const size_t size = (9 << 20) + 4096;
	int dir = (mkdirat(ends->base, "source", 0700), openat(ends->base, "source", O_RDONLY | O_DIRECTORY));
	int file = openat(dir, "pages-1.img", O_RDWR | O_CREAT, 0600), got;
	unsigned char *bytes = malloc(size), *there = malloc(size);
	uint64_t random = 5;
	struct reason why;
	struct send send;
	struct stat st;

	for (size_t i = 0; i < size; i++)
		bytes[i] = i % 8192 < 4096 ? 'x' : (unsigned char)next_random(&random);
	/* A hole. */
	memset(bytes + (3 << 20), 0, 1 << 20);
	assert_int_equal(pwrite(file, bytes, 3 << 20, 0), 3 << 20);
	assert_int_equal(pwrite(file, bytes + (4 << 20), size - (4 << 20), 4 << 20), size - (4 << 20));
	close(openat(dir, "core-1.img", O_WRONLY | O_CREAT, 0600));
	close(openat(dir, "pages-2.img", O_WRONLY | O_CREAT, 0600));
	ask(ends);
	join(ends);
	send_init(&send, &ends->source, compress);
	send_pages_over(&send, ends->out, LANES);
	assert_int_equal(send_round(&send, NULL, 1, &why), 0);
	assert_int_equal(send_directory(&send, dir, false, WIRE_LAST, &why), 0);
	assert_int_equal(over(ends), 0);
	assert_int_equal(ends->frames[WIRE_FILE_END], 3);
	assert_int_equal(ends->frames[WIRE_DATA] + ends->frames[WIRE_LZ4], 0);
	assert_true(compress == (send.bytes < size / 4 * 3));
	got = openat(ends->base, "1/pages-1.img", O_RDONLY);
	assert_int_equal(pread(got, there, size, 0), size);
	assert_memory_equal(there, bytes, size);
	assert_int_equal(fstat(got, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_true(st.st_blocks * 512 < (blkcnt_t)size);
	free(bytes);
	free(there);
	close(got);
	close(file);
	close(dir);
}

static void pages_go_over_them_and_nothing_else(void **state)
{
	send_pages(*state, false);
}

static void pages_go_over_them_compressed(void **state)
{
	send_pages(*state, true);
}

static void strangers_are_refused_and_keep_nobody_waiting(void **state)
{
	struct ends *ends = *state;
	unsigned char other[TLS_KEY];
	struct reason why = { "" };
	int socks[70];

	ask(ends);
	memcpy(other, ends->want.key, sizeof(other));
	other[31] ^= 1;
	assert_null(join_connect("127.0.0.1", ends->want.port, other, &why));
	assert_non_null(strstr(why.text, "has proved to be the destination"));
	/* More of them than may wait. */
	for (int i = 0; i < 70; i++)
		assert_true((socks[i] = stranger(ends)) >= 0);
	assert_true(write(socks[69], "GET / HTTP/1.0\r\n\r\n", 18) == 18);
	join(ends);
	for (int i = 0; i < 70; i++)
		close(socks[i]);
	assert_int_equal(stranger(ends), -ECONNREFUSED);
	say(ends, WIRE_ROUND, "\1\0\0\0", 4);
	say(ends, WIRE_LAST, NULL, 0);
	assert_int_equal(over(ends), 0);
}

/* Somebody between the two who listens in the destination's place. */
static void a_destination_without_the_key_is_refused(void **state)
{
	struct ends *ends = *state;
	struct tls *joined[1];
	struct reason why;
	uint32_t port = 0;
	int listener = join_listen("127.0.0.1", &port, &why);

	assert_true(listener >= 0);
	ends->want.port = port;
	if (!fork()) {
		close(ends->source.in);
		ends->want.key[0] ^= 1;
		_exit(join_accept(listener, ends->destination.in, ends->want.key, joined, 1, &why) == -ECONNRESET);
	}
	close(listener);
	ends->want.key[0] ^= 2;
	assert_null(join_connect("127.0.0.1", port, ends->want.key, &why));
}

static void a_source_that_gives_up_is_not_waited_for(void **state)
{
	struct ends *ends = *state;

	ask(ends);
	shutdown(ends->source.out, SHUT_WR);
	assert_int_equal(over(ends), -ECONNRESET);
	assert_int_equal(stranger(ends), -ECONNREFUSED);
}

static void one_that_is_cut_ends_the_round(void **state)
{
	static const uint64_t end[2] = { 5, 5 };
	struct ends *ends = *state;
	struct pollfd event;

	ask(ends);
	join(ends);
	say(ends, WIRE_ROUND, "\1\0\0\0", 4);
	say(ends, WIRE_FILE, "pages-1.img", 11);
	say(ends, WIRE_FILE_END, end, sizeof(end));
	hang_up(&ends->out[1]);
	ends->out[1].tls = NULL;
	assert_int_equal(over(ends), -ECONNRESET);
	assert_non_null(strstr(ends->why.text, "--tcp"));
	event = (struct pollfd){ ends->lanes.event, POLLIN, 0 };
	assert_int_equal(poll(&event, 1, 20000), 1);
}

static void what_does_not_arrive_is_not_waited_for_for_ever(void **state)
{
	static const uint64_t end[2] = { 5, 5 };
	struct ends *ends = *state;

	ends->receive.patience = 50;
	ask(ends);
	join(ends);
	say(ends, WIRE_ROUND, "\1\0\0\0", 4);
	say(ends, WIRE_FILE, "pages-1.img", 11);
	say(ends, WIRE_FILE_END, end, sizeof(end));
	assert_int_equal(over(ends), -ETIMEDOUT);
}

/* What a source says that has the key and does not know what to do with it. */
static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		enum wire_type type;
		const char *data;
		size_t len;
	} bad[] = {
		{ WIRE_GO, "", 0 },
		{ WIRE_FILE, "x", 1 },
		{ WIRE_DATA, "\0\0\0\0\0\0\0\0\1\0\0", 11 },
		{ WIRE_DATA, "\0\0\0\0\0\0\0\0\0\0\0\0x", 13 },
		{ WIRE_DATA, "\0\0\0\0\0\0\0\x7f\1\0\0\0far away", 20 },
		{ WIRE_LZ4, "\0\0\0\0\0\0\0\0\1\0\0\0\x10\0\0\0 rubbish", 24 },
	};
	struct reason why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ends *ends = *state;

		ask(ends);
		join(ends);
		say(ends, WIRE_ROUND, "\1\0\0\0", 4);
		say(ends, WIRE_FILE, "pages-1.img", 11);
		assert_int_equal(wire_send(&ends->out[1], bad[i].type, NULL, 0, bad[i].data, bad[i].len, &why), 0);
		/* It would wait for a byte that does not come. */
		say(ends, WIRE_FILE_END, "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16);
		assert_true(over(ends) < 0);
		assert_true(ends->why.text[0]);
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
}

static void a_wrong_wish_to_listen_is_refused(void **state)
{
	static const struct {
		uint32_t nr;
		uint32_t port;
		const char *address;
		int err;
	} bad[] = {
		{ 0, 0, "127.0.0.1", -EPROTO },	       { COPY_JOBS + 1, 0, "127.0.0.1", -EPROTO },
		{ 1, 65536, "127.0.0.1", -EPROTO },    { 1, 0, "", -EPROTO },
		{ 1, 0, "localhost", -EADDRNOTAVAIL }, { 1, 0, "nonsense", -EADDRNOTAVAIL },
		{ 1, 0, "192.0.2.1", -EADDRNOTAVAIL },
	};
	struct ends *ends = *state;
	struct reason why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ends->want.nr = bad[i].nr;
		ends->want.port = bad[i].port;
		assert_int_equal(wire_send(&ends->source, WIRE_LISTEN, &ends->want, sizeof(ends->want), bad[i].address,
					   strlen(bad[i].address), &why),
				 0);
		assert_int_equal(wire_receive(&ends->destination, &why), WIRE_LISTEN);
		assert_int_equal(lanes_open(&ends->lanes, &ends->receive, &ends->destination, &why), bad[i].err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pages_go_over_them_and_nothing_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_go_over_them_compressed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strangers_are_refused_and_keep_nobody_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_destination_without_the_key_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_source_that_gives_up_is_not_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_cut_ends_the_round, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_does_not_arrive_is_not_waited_for_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_wrong_wish_to_listen_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
