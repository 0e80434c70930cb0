// SPDX-License-Identifier: GPL-2.0-only
/* A criu that a runtime runs waits for images only if it is asked to restore, and the request is criu's afterwards. */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bind/service.h"
#include "unit.h"

/* images/rpc.proto: a request's type is its field 1, its options are field 2. */
static const char version[] = { 0x08, 0x0c }, dump[] = { 0x08, 0x01, 0x12, 0x02, 0x30, 0x05 },
		  restore[] = { 0x08, 0x02, 0x12, 0x02, 0x30, 0x05 };

static bool asked(const char *packet, size_t size)
{
	char fd[16], swrk[] = "swrk", criu[] = "criu", taken[64];
	char *argv[] = { criu, swrk, fd, NULL };
	int socks[2];
	bool restores;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
	snprintf(fd, sizeof(fd), "%d", socks[1]);
	assert_int_equal(send(socks[0], packet, size, 0), size);
	close(socks[0]);
	restores = service_restores(3, argv);
	assert_int_equal(recv(socks[1], taken, sizeof(taken), 0), size);
	assert_memory_equal(taken, packet, size);
	close(socks[1]);
	return restores;
}

static void a_request_to_restore_is_one(void **state)
{
	(void)state;
	assert_true(asked(restore, sizeof(restore)));
}

static void no_other_one_is(void **state)
{
	(void)state;
	assert_false(asked(version, sizeof(version)));
	assert_false(asked(dump, sizeof(dump)));
	assert_false(asked("nonsense", 8));
}

static void a_client_that_is_gone_asks_for_nothing(void **state)
{
	char fd[16], swrk[] = "swrk", criu[] = "criu";
	char *argv[] = { criu, swrk, fd, NULL };
	int socks[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
	snprintf(fd, sizeof(fd), "%d", socks[1]);
	close(socks[0]);
	assert_false(service_restores(3, argv));
	close(socks[1]);
}

static void criu_by_itself_needs_no_request(void **state)
{
	char criu[] = "criu", word[] = "restore", detach[] = "-d";
	char *argv[] = { criu, word, detach, NULL };

	(void)state;
	assert_true(service_restores(3, argv));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_to_restore_is_one),
		cmocka_unit_test(no_other_one_is),
		cmocka_unit_test(a_client_that_is_gone_asks_for_nothing),
		cmocka_unit_test(criu_by_itself_needs_no_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
