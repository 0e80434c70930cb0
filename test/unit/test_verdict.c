// SPDX-License-Identifier: GPL-2.0-only
/* What became of a migration has one answer, whoever asks or says it first; criu's scripts hear what they shall do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "move/hook.h"
#include "move/verdict.h"
#include "unit.h"

static char path[] = "/tmp/test_verdict.XXXXXX";
static int dir;

static int set_up(void **state)
{
	(void)state;
	strcpy(path, "/tmp/test_verdict.XXXXXX");
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

static void the_first_one_is_right(void **state)
{
	(void)state;
	assert_int_equal(verdict_read(dir), -ENOENT);
	assert_int_equal(verdict_say(dir, VERDICT_CANCELLED), 0);
	assert_int_equal(verdict_say(dir, VERDICT_GOING), -EEXIST);
	assert_int_equal(verdict_read(dir), VERDICT_CANCELLED);
}

static void what_goes_comes_to_its_end(void **state)
{
	(void)state;
	assert_int_equal(verdict_say(dir, VERDICT_GOING), 0);
	assert_int_equal(verdict_say(dir, VERDICT_CANCELLED), -EEXIST);
	/* One was killed in between. */
	assert_int_equal(symlinkat("failed", dir, "verdict.new"), 0);
	assert_int_equal(verdict_change(dir, VERDICT_RUNNING), 0);
	assert_int_equal(verdict_read(dir), VERDICT_RUNNING);
	assert_int_equal(unlinkat(dir, "verdict", 0), 0);
	assert_int_equal(symlinkat("perhaps", dir, "verdict"), 0);
	assert_int_equal(verdict_read(dir), -EBADMSG);
}

/* As criu does: a child that inherits the lock holds it, too. */
static void the_lock_is_held_by_the_last_one(void **state)
{
	int lock = verdict_lock(dir), wait_fd[2], status;
	pid_t child;

	(void)state;
	assert_true(lock >= 0);
	assert_int_equal(verdict_lock(dir), -EAGAIN);
	assert_int_equal(pipe(wait_fd), 0);
	child = fork();
	if (!child) {
		char byte;

		close(wait_fd[1]);
		_exit(read(wait_fd[0], &byte, 1) != 0);
	}
	close(lock);
	assert_int_equal(verdict_lock(dir), -EAGAIN);
	close(wait_fd[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	lock = verdict_lock(dir);
	assert_true(lock >= 0);
	close(lock);
	close(wait_fd[0]);
}

static void a_script_says_its_stage_and_hears_an_answer(void **state)
{
	struct reason why;
	char stage[32], answer[2] = "", target[4096];
	int listener, script, sock;

	(void)state;
	assert_true(hook_connect(path, "post-dump") < 0);
	listener = hook_listen(dir, &why);
	assert_true(listener >= 0);
	assert_true(readlinkat(dir, HOOK_PROGRAM, target, sizeof(target)) > 0);
	script = hook_connect(path, "post-dump");
	assert_true(script >= 0);
	sock = hook_accept(listener, stage);
	assert_true(sock >= 0);
	assert_string_equal(stage, "post-dump");
	assert_int_equal(send(sock, "g", 1, 0), 1);
	assert_int_equal(recv(script, answer, 2, 0), 1);
	assert_int_equal(*answer, HOOK_GO_ON);
	close(sock);
	assert_int_equal(recv(script, answer, 2, 0), 0);
	close(script);
	assert_true(hook_listen(dir, &why) < 0);
	assert_true(why.text[0]);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_first_one_is_right, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_goes_comes_to_its_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_lock_is_held_by_the_last_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_script_says_its_stage_and_hears_an_answer, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
