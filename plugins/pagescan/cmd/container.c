// SPDX-License-Identifier: GPL-2.0-only
/*
 * container.c - the commands of a container runtime. Calls jansson, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "container.h"
#include "move/hook.h"

#define CONFIGURATION "criu.conf"

#define PROBE "PAGESCAN_PROBE"
#define HEARD "heard"

/* A criu that runs the scripts of its configuration as a service, too, as from 3.19 on, and has the plugin (plugin.c). */
#define CRIU_MAJOR 4

/*
 * The runtime's criu. A script, as `pagescan criu` looks in PATH for one that is none. In a probe it tells that it has been
 * run, with the configuration, and fails.
 */
static const char launcher[] = "#!/bin/sh\n"
			       "if [ \"$" PROBE "\" ]; then\n"
			       "\t[ \"$CRIU_CONFIG_FILE\" ] && : >\"${0%/*}/" HEARD "\"\n"
			       "\texit 1\n"
			       "fi\n"
			       "exec \"${0%/*}/pagescan\" criu \"$@\"\n";

/* What the runtime says of the container, the caller's. NULL without an answer. */
static json_t *ask(const struct container *container)
{
	char *const state[] = { (char *)"state", NULL };
	int pipe_fd[2], status = -1;
	json_t *answer = NULL;
	pid_t child;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return NULL;
	child = fork();
	if (!child) {
		dup2(pipe_fd[1], STDOUT_FILENO);
		_exit(container_exec(container, NULL, false, state, NULL, 0));
	}
	close(pipe_fd[1]);
	if (child > 0) {
		answer = json_loadfd(pipe_fd[0], JSON_DISABLE_EOF_CHECK, NULL);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(pipe_fd[0]);
	return answer;
}

int container_find(struct container *container)
{
	json_t *answer = ask(container);
	const char *status = json_string_value(json_object_get(answer, "status"));
	const char *bundle = json_string_value(json_object_get(answer, "bundle"));
	int pid = (int)json_integer_value(json_object_get(answer, "pid"));

	if (!answer || !status || !bundle) {
		complain("%s does not know a container %s", container->runtime, container->name);
		pid = 0;
	} else if (strcmp(status, "running")) {
		complain("the container %s cannot be moved: it is %s", container->name, status);
		pid = 0;
	} else if (!container->bundle) {
		container->bundle = strdup(bundle);
	}
	json_decref(answer);
	return container->bundle ? pid : 0;
}

/* A file of this name, which may be there already. Returns 0 or a negative errno. */
static int put_file(int dir, const char *name, mode_t mode, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	int err = fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ? -EIO : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int put_files(int dir, const char *path)
{
	char self[4096], text[4096 + 64];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int err = len < 0 ? -errno : 0;

	self[len > 0 ? len : 0] = '\0';
	snprintf(text, sizeof(text), "action-script %s/" HOOK_PROGRAM "\n", path);
	if (!err && symlinkat(self, dir, "pagescan") < 0)
		err = -errno;
	if (!err)
		err = put_file(dir, "criu", 0700, launcher);
	if (!err)
		err = put_file(dir, CONFIGURATION, 0600, text);
	return err;
}

static bool criu_asks(void)
{
	char version[64] = "", *criu = find_criu();
	int major = 0;
	const bool known = criu && criu_version(criu, version, sizeof(version));

	free(criu);
	return known && sscanf(version, "Version: %d", &major) == 1 && major >= CRIU_MAJOR;
}

/* Does the runtime run the criu that we offer? Nothing comes of a restore or a pre-dump whose criu fails at once. */
static bool is_heard(const struct container *container, int dir, const char *path, bool restores)
{
	char images[4096], log[4096];
	char *const of_restore[] = { (char *)"--detach", (char *)"--bundle", (char *)container->bundle };
	char *const of_checkpoint[] = { (char *)"--pre-dump" };
	char *const fixed[] = { (char *)"--log",	log,	(char *)(restores ? "restore" : "checkpoint"),
				(char *)"--image-path", images, NULL };
	pid_t child;

	snprintf(log, sizeof(log), "%s/" RUNTIME_LOG, path);
	snprintf(images, sizeof(images), "%s/probe", path);
	child = fork();
	if (!child) {
		int null = open("/dev/null", O_RDWR);

		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
		setenv(PROBE, "1", 1);
		_exit(container_exec(container, path, true, fixed, restores ? of_restore : of_checkpoint,
				     restores ? 3 : 1));
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	(void)unlinkat(dir, "probe", AT_REMOVEDIR);
	return !unlinkat(dir, HEARD, 0);
}

int container_prepare(int dir, const char *path, struct reason *why)
{
	int err;

	/* What ends a word in PATH or in criu's configuration (criu/config.c, parse_statement). */
	if (strpbrk(path, ": \t\n\"#"))
		return reason_set(why, -EINVAL, "a container's directory must not have such a name: %s", path);
	err = put_files(dir, path);
	if (err)
		return reason_set(why, err, "cannot write to %s: %s", path, strerror(-err));
	if (!criu_asks())
		return reason_set(why, -ENOENT, "moving a container wants CRIU %d.0 or later", CRIU_MAJOR);
	return 0;
}

int container_probe(const struct container *container, int dir, const char *path, bool restores, struct reason *why)
{
	if (is_heard(container, dir, path, restores))
		return 0;
	return reason_set(why, -EIO, "%s has not run the criu first in its PATH, which asks; see %s/" RUNTIME_LOG,
			  container->runtime, path);
}

static bool offer_criu(const char *path, bool asks)
{
	const char *before = getenv("PATH");
	char *list = NULL, *configuration = NULL;
	const bool done = asprintf(&list, "%s:%s", path, before ? before : "/usr/sbin:/usr/bin:/sbin:/bin") > 0 &&
			  asprintf(&configuration, "%s/" CONFIGURATION, path) > 0 && !setenv("PATH", list, 1) &&
			  (!asks || !setenv("CRIU_CONFIG_FILE", configuration, 1));

	free(list);
	free(configuration);
	return done;
}

int container_exec(const struct container *container, const char *path, bool asks, char *const fixed[],
		   char *const options[], int nr)
{
	char *words = strdup(container->runtime), *state = NULL;
	size_t nr_fixed = 0, at = 0;
	char **argv;

	while (fixed[nr_fixed])
		nr_fixed++;
	argv = calloc(strlen(container->runtime) / 2 + 1 + nr_fixed + (size_t)nr + 2, sizeof(*argv));
	if (!words || !argv || (path && !offer_criu(path, asks))) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	for (char *word = strtok_r(words, " ", &state); word; word = strtok_r(NULL, " ", &state))
		argv[at++] = word;
	for (size_t i = 0; i < nr_fixed; i++)
		argv[at++] = fixed[i];
	for (int i = 0; i < nr; i++)
		argv[at++] = options[i];
	argv[at] = (char *)container->name;
	execvp(argv[0], argv);
	complain("cannot run %s: %s", argv[0], strerror(errno));
	return 127;
}
