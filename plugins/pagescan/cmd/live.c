// SPDX-License-Identifier: GPL-2.0-only
/*
 * live.c - an image directory, signals and messages of commands that make live rounds. Calls the kernel, jansson.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "live.h"

volatile sig_atomic_t live_stop;

static void on_signal(int signal)
{
	(void)signal;
	live_stop = 1;
}

void live_heed_signals(void)
{
	const struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void live_tell(int pid, const char *text)
{
	complain("%d: %s", pid, text);
}

int live_images(const char *path)
{
	const struct dirent *entry;
	bool used = false;
	DIR *list;
	int dir;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		complain("cannot make the directory %s: %s", path, strerror(errno));
		return -1;
	}
	list = opendir(path);
	if (!list) {
		complain("cannot open the directory %s: %s", path, strerror(errno));
		return -1;
	}
	while ((entry = readdir(list)))
		used = used || (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."));
	dir = used ? -1 : fcntl(dirfd(list), F_DUPFD_CLOEXEC, 0);
	if (used)
		complain("the directory %s is not empty; each round wants one of its own", path);
	else if (dir < 0)
		complain("cannot open the directory %s: %s", path, strerror(errno));
	closedir(list);
	return dir;
}

json_t *live_areas(const struct written *written)
{
	json_t *list = json_array();

	for (size_t i = 0; i < written->nr; i++) {
		const struct written_area *area = &written->top[i];

		json_append(list, json_pack("{s:i, s:I, s:I, s:s, s:I}", "pid", area->pid, "start",
					    (json_int_t)area->start, "end", (json_int_t)area->end, "name", area->name,
					    "written_bytes", (json_int_t)area->bytes));
	}
	return list;
}
