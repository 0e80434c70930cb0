// SPDX-License-Identifier: GPL-2.0-only
/*
 * history.c - follow a chain of image directories by their parent links. Calls image, the kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagescan.h>

#include "history.h"
#include "image/image.h"
#include "image/visit.h"

int history_each_image(int dir, int (*visit)(void *ctx, const char *name, uint64_t id, bool shared), void *ctx)
{
	DIR *list = image_list(dir, ".");
	const struct dirent *entry;
	int err = 0;

	if (!list)
		return -errno;
	while (!err && (errno = 0, entry = readdir(list))) {
		const bool shared = !strncmp(entry->d_name, "pagemap-shmem-", 14);
		uint64_t id;
		int end = 0;

		if (sscanf(entry->d_name, shared ? "pagemap-shmem-%" SCNu64 ".img%n" : "pagemap-%" SCNu64 ".img%n", &id,
			   &end) == 1 &&
		    end && !entry->d_name[end])
			err = visit(ctx, entry->d_name, id, shared);
	}
	if (!err)
		err = -errno;
	closedir(list);
	return err;
}

/* Reading stops at the first one. */
static int found_image(void *ctx, const char *name, uint64_t id, bool shared)
{
	(void)ctx;
	(void)name;
	(void)id;
	(void)shared;
	return -EEXIST;
}

/* What a round has when it is complete. */
static bool is_complete(int dir)
{
	return !faccessat(dir, IMAGE_INVENTORY, R_OK, 0);
}

static int open_complete(int at, const char *path)
{
	int dir = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	if (is_complete(dir))
		return dir;
	close(dir);
	return -ENOENT;
}

/* A page server's directory holds nothing but pages and where they belong. */
static bool has_images(int dir)
{
	return is_complete(dir) || history_each_image(dir, found_image, NULL) == -EEXIST;
}

/* The last of the rounds in the directory @top: the caller's descriptor, or a negative errno. */
static int open_last(int top)
{
	int dir = open_complete(top, "last");
	const struct dirent *entry;
	unsigned long highest = 0;
	DIR *list;

	if (dir != -ENOENT)
		return dir;
	list = image_list(top, ".");
	while (list && (entry = readdir(list))) {
		char *end;
		unsigned long number = strtoul(entry->d_name, &end, 10);
		int found = *end || number <= highest ? -1 : open_complete(top, entry->d_name);

		if (found < 0)
			continue;
		if (dir >= 0)
			close(dir);
		dir = found;
		highest = number;
	}
	if (list)
		closedir(list);
	return dir;
}

struct count {
	struct history_round *round;
	struct reason *why;
};

static int count_run(void *ctx, const struct visit_run *run)
{
	struct history_round *round = ctx;

	*(run->held ? &round->held : &round->parent) += run->end - run->start;
	return 0;
}

static int count_image(void *ctx, const char *name, uint64_t id, bool shared)
{
	struct count *count = ctx;
	int err = image_visit_runs(count->round->dir, name, count_run, count->round);

	(void)id;
	(void)shared;
	count->round->images++;
	if (!err)
		return 0;
	return reason_set(count->why, err, "%s in the directory %s: %s", name, count->round->name,
			  err == -EBADMSG ? "not a pagemap image" :
			  err == -EOPNOTSUPP ?
					    "made by a CRIU with features that are not known here (compressed pages?)" :
					    strerror(-err));
}

static void name_round(struct history_round *round)
{
	char link[32], path[4096];
	const char *slash;
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", round->dir);
	len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	snprintf(round->name, sizeof(round->name), "%.63s", slash ? slash + 1 : path);
}

static int read_round(struct history_round *round, struct reason *why)
{
	struct count count = { round, why };
	struct image_stats stats;
	int err;

	name_round(round);
	err = history_each_image(round->dir, count_image, &count);
	if (err)
		return err;
	round->has_stats = !image_read_stats(round->dir, IMAGE_STATS, &stats);
	if (round->has_stats) {
		round->kind = stats.freezing ? ROUND_STOPPED : ROUND_LIVE;
		round->paused = stats.stopped;
	}
	round->elsewhere = !round->images && round->has_stats;
	if (round->elsewhere) {
		round->held = stats.pages_written * pagescan_page_size();
		round->parent = stats.pages_parent * pagescan_page_size();
	}
	if (!faccessat(round->dir, "pstree.img", R_OK, 0))
		round->kind = ROUND_DUMP;
	return 0;
}

/* A directory may not be its own ancestor. */
static bool is_known(const struct history *history, int dir)
{
	struct stat st, other;

	for (size_t i = 0; !fstat(dir, &st) && i < history->nr; i++) {
		if (!fstat(history->v[i].dir, &other) && st.st_dev == other.st_dev && st.st_ino == other.st_ino)
			return true;
	}
	return false;
}

/*
 * Add the round @dir, which is the history's from now on. Returns its parent's descriptor, -ENOENT, or an error with
 * @why.
 */
static int add_round(struct history *history, int dir, struct reason *why)
{
	struct history_round *v = reallocarray(history->v, history->nr + 1, sizeof(*v));
	int err;

	if (!v || is_known(history, dir)) {
		close(dir);
		return v ? reason_set(why, -ELOOP, "the chain's parent links go round in a circle") :
			   reason_set(why, -ENOMEM, "out of memory");
	}
	history->v = v;
	v[history->nr] = (struct history_round){ .dir = dir };
	err = read_round(&v[history->nr++], why);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	dir = openat(dir, IMAGE_PARENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 || errno == ENOENT)
		return dir >= 0 ? dir : -ENOENT;
	return reason_set(why, -errno, "cannot open the parent of the directory %s: %s", v[history->nr - 1].name,
			  strerror(errno));
}

int history_read(struct history *history, const char *path, struct reason *why)
{
	int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir;

	*history = (struct history){ 0 };
	if (top < 0)
		return reason_set(why, -errno, "cannot open the directory %s: %s", path, strerror(errno));
	dir = has_images(top) ? fcntl(top, F_DUPFD_CLOEXEC, 0) : open_last(top);
	history->incomplete = !faccessat(top, "incomplete", F_OK, 0);
	close(top);
	if (dir < 0)
		return reason_set(why, dir, "there are no images in %s, nor in numbered directories there", path);
	while (dir >= 0)
		dir = add_round(history, dir, why);
	if (dir != -ENOENT) {
		history_fini(history);
		return dir;
	}
	/* The youngest came first. */
	for (size_t i = 0; i < history->nr / 2; i++) {
		struct history_round round = history->v[i];

		history->v[i] = history->v[history->nr - 1 - i];
		history->v[history->nr - 1 - i] = round;
	}
	return 0;
}

void history_fini(struct history *history)
{
	for (size_t i = 0; i < history->nr; i++)
		close(history->v[i].dir);
	free(history->v);
	*history = (struct history){ 0 };
}
