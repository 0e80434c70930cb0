// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_container.c - guards: a container is named by its control groups, of v1 and v2, as each runtime calls them; what
 * is none is not named.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "track/container.h"

#define ID    "6ec0c2ab3bd1b1a9b8f0fd3a2b1c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"
#define SHORT "ec0c2ab3bd1b1a9b8f0fd3a2b1c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"

static void is_beside(const char *groups, const char *ours, const char *expected)
{
	char name[CONTAINER_NAME];

	memset(name, 'x', sizeof(name));
	container_name(groups, ours, name);
	assert_string_equal(name, expected);
}

static void is(const char *groups, bool apart, const char *expected)
{
	is_beside(groups, apart ? "" : NULL, expected);
}

static void test_ids(void **state)
{
	(void)state;
	is("0::/system.slice/docker-" ID ".scope\n", false, ID);
	is("5:devices:/docker/" ID "\n4:memory:/docker/" ID "\n", false, ID);
	is("0::/machine.slice/libpod-" ID ".scope/container\n", false, ID);
	is("0::/libpod_parent/libpod-" ID "\n", false, ID);
	is("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container", false, ID);
	is("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope\n", false, ID);
	is("7:freezer:/kubepods/burstable/pod5b0/" ID "\n", false, ID);
	is("0::/kubepods.slice/crio-" ID ".scope/init.scope\n", true, ID);
	is("0::/docker/" ID " (deleted)\n", false, ID);
}

static void test_no_ids(void **state)
{
	(void)state;
	is("0::/a/" SHORT "\n", false, "");
	is("0::/a/" ID "0\n", false, "");
	is("0::/a/x" ID "\n", false, "");
	is("0::/a/" SHORT "G\n", false, "");
}

static void test_names(void **state)
{
	(void)state;
	is("0::/system.slice/runc-web.scope\n", false, "web");
	is("0::/system.slice/crun-web.1.scope\n", false, "web.1");
	is("0::/system.slice/runc-.scope\n", false, "");
	is("9:freezer:/web\n0::/\n", true, "web");
	is("9:name=systemd:/\n8:freezer:/group/web (deleted)\n", true, "web");
	is("0::/group/web/container\n", true, "web");
	is("0::/group/web/init.scope", true, "web");
}

/* The container's id is known in one hierarchy only. */
static void test_mixed(void **state)
{
	(void)state;
	is("3:misc:/other\n2:freezer:/docker/" ID "\n0::/\n", true, ID);
	is_beside("4:memory:/host\n0::/group/web\n", "4:memory:/host\n0::/\n", "web");
	is_beside("4:memory:/host\n0::/group/web", "0::/group\n4:memory:/host", "web");
	is_beside("4:memory:/host/web\n0::/\n", "4:memory:/host\n0::/\n", "web");
	is_beside("4:memory:/host\n0::/\n", "4:memory:/host\n0::/\n", "");
}

static void test_none(void **state)
{
	(void)state;
	is("", true, "");
	is("\n\n", true, "");
	is("0::/\n", true, "");
	is("nonsense\n5:\n:::\n", true, "");
	is("0::no/slash", true, "slash");
	is("9:freezer:/web\n0::/user.slice/session-1.scope\n", false, "");
	is("0::/system.slice/redis.service\n", false, "");
}

/* A name as long as the file system allows. */
static void test_long(void **state)
{
	char groups[300] = "0::/", name[CONTAINER_NAME];

	(void)state;
	memset(groups + 4, 'n', 255);
	container_name(groups, "", name);
	assert_int_equal(strlen(name), 255);
}

static void test_shown(void **state)
{
	(void)state;
	assert_int_equal(container_shown(ID), CONTAINER_ID_SHOWN);
	assert_int_equal(container_shown("web"), 3);
	assert_int_equal(container_shown(SHORT), 63);
	assert_int_equal(container_shown(""), 0);
}

/* This process has our pids; a directory that is no process's has no groups. */
static void test_process(void **state)
{
	char name[CONTAINER_NAME];
	int self = open("/proc/self", O_PATH | O_DIRECTORY), none = open("/proc", O_PATH | O_DIRECTORY);

	(void)state;
	assert_int_equal(container_of(self, name), 0);
	assert_int_equal(container_of(none, name), -ENOENT);
	assert_string_equal(name, "");
	close(self);
	close(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),   cmocka_unit_test(test_no_ids),  cmocka_unit_test(test_names),
		cmocka_unit_test(test_mixed), cmocka_unit_test(test_none),    cmocka_unit_test(test_long),
		cmocka_unit_test(test_shown), cmocka_unit_test(test_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
