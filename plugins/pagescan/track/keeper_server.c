// SPDX-License-Identifier: GPL-2.0-only
/*
 * keeper_server.c - the keeper itself: holds tasks' userfaultfds and epochs until they exit or are dropped.
 * Calls keeper_wire, confine, the kernel. It never looks into a task; that is the clients' business.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "keeper.h"

/* With nothing to keep and nobody connected for this long the keeper ends. */
#define IDLE_MS 2000
/*
 * More connections than this are closed at once; each lasts for one question. With them, a message in flight and its
 * own files the keeper needs no more descriptors than OTHER_FDS, so tasks may have the rest of what the limit allows.
 */
#define CLIENTS_MAX  256
#define OTHER_FDS    300
#define FDS_PER_TASK 2
/* How long to wait for a keeper that is just ending to give up the lock. */
#define LOCK_TRIES    200
#define LOCK_PAUSE_NS 10000000

/* What epoll watches: the listening socket, a connection, or a task's pidfd. */
struct watch {
	enum { LISTENER, CLIENT, TASK } kind;
	int fd;
	int uffd;
	struct keeper_entry entry;
	struct watch *next;
};

struct keeper {
	int dir;
	int epoll;
	uid_t uid; /* who may ask */
	struct watch listener;
	struct watch *tasks;
	size_t nr_tasks;
	size_t tasks_max;
	int clients;
};

static int watch_add(struct keeper *keeper, struct watch *watch)
{
	/* A connection that cannot be accepted, for want of descriptors, waits for the next one and not in our loop. */
	const uint32_t edge = watch->kind == LISTENER ? EPOLLET : 0;
	struct epoll_event event = { .events = EPOLLIN | edge, .data.ptr = watch };

	return epoll_ctl(keeper->epoll, EPOLL_CTL_ADD, watch->fd, &event) < 0 ? -errno : 0;
}

/*
 * close(2) alone ends epoll's watch only if nobody else has the file open (epoll(7)), and the watch leads here. The client
 * that sent a pidfd has it, and whoever looks at /proc/PID/fd or fdinfo has each of our files for a moment (fs/proc/fd.c).
 */
static void watch_end(struct keeper *keeper, struct watch *watch)
{
	epoll_ctl(keeper->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	close(watch->fd);
	free(watch);
}

/* Closing the last descriptor of a userfaultfd takes all protection off the task's memory. */
static void task_forget(struct keeper *keeper, struct watch *task)
{
	struct watch **at = &keeper->tasks;

	while (*at && *at != task)
		at = &(*at)->next;
	if (*at)
		*at = task->next;
	keeper->nr_tasks--;
	close(task->uffd);
	watch_end(keeper, task);
}

static struct watch *task_find(const struct keeper *keeper, int32_t pid)
{
	struct watch *task = keeper->tasks;

	while (task && task->entry.id.pid != pid)
		task = task->next;
	return task;
}

static int op_get(struct keeper *keeper, struct keeper_message *message, int *uffd)
{
	const struct watch *task = task_find(keeper, message->entry.id.pid);

	if (!task || !identity_equal(&task->entry.id, &message->entry.id))
		return -ENOENT;
	message->entry = task->entry;
	*uffd = task->uffd;
	return 0;
}

/* Takes over both descriptors on success. An epoch never goes back: that would make an old image look current. */
static int op_put(struct keeper *keeper, const struct keeper_entry *entry, int uffd, int pidfd)
{
	struct watch *old = task_find(keeper, entry->id.pid);
	struct timespec now;
	struct watch *task;
	int err;

	if (old && !memcmp(old->entry.epoch.tracker, entry->epoch.tracker, TRACKER_ID_SIZE) &&
	    entry->epoch.number <= old->entry.epoch.number)
		return -ESTALE;
	if (!old && keeper->nr_tasks >= keeper->tasks_max)
		return -EMFILE;

	task = calloc(1, sizeof(*task));
	if (!task)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME, &now);
	task->kind = TASK;
	task->fd = pidfd;
	task->uffd = uffd;
	task->entry = *entry;
	task->entry.since = old && identity_equal(&old->entry.id, &entry->id) ? old->entry.since : now.tv_sec;

	err = watch_add(keeper, task);
	if (err) {
		free(task);
		return err;
	}
	if (old)
		task_forget(keeper, old);
	task->next = keeper->tasks;
	keeper->tasks = task;
	keeper->nr_tasks++;
	return 0;
}

static int op_drop(struct keeper *keeper, int32_t pid)
{
	int dropped = 0;

	for (struct watch *task = keeper->tasks, *next; task; task = next) {
		next = task->next;
		if (!pid || task->entry.id.pid == pid) {
			task_forget(keeper, task);
			dropped++;
		}
	}
	return dropped;
}

static int op_next(const struct keeper *keeper, struct keeper_entry *entry)
{
	const struct watch *next = NULL;

	for (const struct watch *task = keeper->tasks; task; task = task->next) {
		if (task->entry.id.pid > entry->id.pid && (!next || task->entry.id.pid < next->entry.id.pid))
			next = task;
	}
	if (!next)
		return -ENOENT;
	*entry = next->entry;
	return 0;
}

/* One request. Returns a negative errno if the connection is of no more use. */
static int serve(struct keeper *keeper, int sock)
{
	struct keeper_message message = { 0 };
	int fds[2], uffd = -1;
	size_t nr_fds;
	int err = keeper_receive(sock, &message, fds, &nr_fds);

	if (err)
		return err;

	switch (message.op) {
	case KEEPER_GET:
		message.status = op_get(keeper, &message, &uffd);
		break;
	case KEEPER_PUT:
		message.status = nr_fds == 2 ? op_put(keeper, &message.entry, fds[0], fds[1]) : -EINVAL;
		if (!message.status)
			nr_fds = 0;
		break;
	case KEEPER_DROP:
		message.status = op_drop(keeper, message.entry.id.pid);
		break;
	case KEEPER_NEXT:
		message.status = op_next(keeper, &message.entry);
		break;
	default:
		message.status = -EINVAL;
	}
	while (nr_fds)
		close(fds[--nr_fds]);
	return keeper_send(sock, &message, &uffd, uffd >= 0);
}

static void take_client(struct keeper *keeper, int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct watch *client = keeper->clients < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;

	if (client) {
		client->kind = CLIENT;
		client->fd = sock;
		if (!getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.uid == keeper->uid &&
		    !watch_add(keeper, client)) {
			/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): epoll holds it until handle() frees it */
			keeper->clients++;
			return;
		}
	}
	free(client);
	close(sock);
}

static void handle(struct keeper *keeper, struct watch *watch)
{
	int sock;

	switch (watch->kind) {
	case LISTENER:
		while ((sock = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
			take_client(keeper, sock);
		break;
	case CLIENT:
		if (serve(keeper, watch->fd)) {
			watch_end(keeper, watch);
			keeper->clients--;
		}
		break;
	case TASK: /* a pidfd becomes readable when the task is gone */
		task_forget(keeper, watch);
		break;
	}
}

/* One event at a time: handling one may free what another of the same batch points to. */
static void loop(struct keeper *keeper)
{
	for (;;) {
		bool idle = !keeper->tasks && !keeper->clients;
		struct epoll_event event;
		int nr = epoll_wait(keeper->epoll, &event, 1, idle ? IDLE_MS : -1);

		if (nr == 1)
			handle(keeper, event.data.ptr);
		else if ((nr == 0 && idle) || (nr < 0 && errno != EINTR))
			return;
	}
}

/*
 * The lock says who the keeper is, for its whole life; the socket file may be left over from one that was killed.
 * Returns 1 when another keeper is at work.
 */
static int take_lock(int dir, struct reason *why)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return reason_set(why, -errno, "cannot open the keeper's lock: %s", strerror(errno));
	for (int i = 0; i < LOCK_TRIES; i++) {
		struct sockaddr_un addr;
		int sock;

		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0; /* the descriptor stays open, and the lock ours, until this process ends */
		sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		keeper_address(dir, &addr);
		if (sock >= 0 && !connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
			close(sock);
			close(fd);
			return 1;
		}
		if (sock >= 0)
			close(sock);
		nanosleep(&pause, NULL);
	}
	close(fd);
	return reason_set(why, -EBUSY, "another keeper holds the lock and does not answer");
}

static int listen_at(struct keeper *keeper, struct reason *why)
{
	struct sockaddr_un addr;
	int err;

	keeper->listener.kind = LISTENER;
	keeper->listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (keeper->listener.fd < 0)
		return reason_set(why, -errno, "socket: %s", strerror(errno));
	unlinkat(keeper->dir, "keeper", 0);
	keeper_address(keeper->dir, &addr);
	/* The directory lets nobody else in (keeper_dir_open); the mode is for those who look at the file alone. */
	if (bind(keeper->listener.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    fchmodat(keeper->dir, "keeper", 0600, 0) < 0 || listen(keeper->listener.fd, 64) < 0)
		return reason_set(why, -errno, "cannot listen: %s", strerror(errno));

	keeper->epoll = epoll_create1(EPOLL_CLOEXEC);
	err = keeper->epoll < 0 ? -errno : watch_add(keeper, &keeper->listener);
	return err ? reason_set(why, err, "epoll: %s", strerror(-err)) : 0;
}

int keeper_serve(int ready, struct reason *why)
{
	struct keeper keeper = { .uid = geteuid() };
	struct rlimit files, all;
	int err;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return reason_set(why, -errno, "getrlimit: %s", strerror(errno));
	all = files;
	all.rlim_cur = files.rlim_max;
	if (!setrlimit(RLIMIT_NOFILE, &all))
		files = all;
	keeper.tasks_max = files.rlim_cur > OTHER_FDS ? (files.rlim_cur - OTHER_FDS) / FDS_PER_TASK : 0;

	keeper.dir = keeper_dir_open(why);
	if (keeper.dir < 0)
		return keeper.dir;
	err = take_lock(keeper.dir, why);
	if (!err)
		err = listen_at(&keeper, why);
	if (!err)
		err = confine(why);
	if (err < 0)
		return err;
	if (ready >= 0) {
		/* Whoever started this keeper may have given up by now; the next one to ask will find it. */
		(void)!write(ready, "", 1);
		close(ready);
	}
	if (err)
		return 0;

	loop(&keeper);
	unlinkat(keeper.dir, "keeper", 0);
	return 0;
}
