// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that uses userfaultfd itself, and has closed it again when a round comes (CRIU 4.1.1 does not dump one). It
 * catches missing pages and writes to write-protected ones: in memory that it has had for ever, and in memory that is
 * new in each round. Memory can be registered with one userfaultfd at a time: where a tracker was first, the process is
 * answered EBUSY, which the log tells; it then writes without.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "track_model.h"

const char *test_doc = "a process that uses userfaultfd itself";
const char *test_author = "criu-pagescan";

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static struct model before = { .name = "registered before the first round only", .id = 1, .pages = 512 };
static struct model always = { .name = "registered in each round", .id = 2, .pages = 1024 };
static struct model fresh = { .name = "mapped and registered in each round", .id = 3, .pages = 256 };

struct work {
	const struct model *area;
	unsigned int round;
	bool all; /* every page, not only those that the round hits */
	bool done;
};

static void *write_area(void *arg)
{
	struct work *w = arg;

	if (w->all)
		for (size_t page = 0; page < w->area->pages; page++)
			model_put(w->area, page, w->round);
	else
		model_write(w->area, w->round);
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void resolve(int fd, const struct uffd_msg *msg)
{
	struct uffdio_range page = { .start = msg->arg.pagefault.address & -(uint64_t)PAGE_SIZE, .len = PAGE_SIZE };
	struct uffdio_writeprotect unprotect = { .range = page };
	struct uffdio_zeropage zero = { .range = page };
	bool wp = msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;

	if (wp ? ioctl(fd, UFFDIO_WRITEPROTECT, &unprotect) : ioctl(fd, UFFDIO_ZEROPAGE, &zero))
		exit(pr_perror("Can't resolve a fault at %#llx", (unsigned long long)page.start));
}

/* Every second page that will be written is missing, the others are write-protected. */
static bool prepare(int fd, const struct work *w)
{
	const struct model *m = w->area;
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)m->mem, .len = m->pages * PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect protect = { .range = range.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP };

	if (ioctl(fd, UFFDIO_REGISTER, &range))
		return false;
	for (size_t page = 0; page < m->pages; page += 2)
		if ((w->all || model_hit(m, page, w->round)) && madvise(model_addr(m, page), PAGE_SIZE, MADV_DONTNEED))
			return false;
	return !ioctl(fd, UFFDIO_WRITEPROTECT, &protect);
}

/* Writes an area in another thread, and serves its faults. */
static void write_with_faults(const struct model *m, unsigned int round, bool all)
{
	struct work w = { .area = m, .round = round, .all = all };
	struct pollfd poller = { .fd = open_uffd(), .events = POLLIN };
	unsigned int faults = 0;
	struct uffd_msg msg;
	pthread_t writer;

	if (poller.fd < 0)
		exit(pr_perror("Can't open a userfaultfd"));
	if (!prepare(poller.fd, &w)) {
		test_msg("Round %u: userfaultfd refuses the area %s: %s\n", round, m->name, strerror(errno));
		if (errno != EBUSY)
			exit(pr_err("EBUSY it must be, or nothing\n"));
		close(poller.fd);
		write_area(&w);
		return;
	}
	if (pthread_create(&writer, NULL, write_area, &w))
		exit(pr_perror("Can't start a thread"));
	while (!__atomic_load_n(&w.done, __ATOMIC_ACQUIRE)) {
		if (poll(&poller, 1, 1) > 0 && read(poller.fd, &msg, sizeof(msg)) == sizeof(msg)) {
			resolve(poller.fd, &msg);
			faults++;
		}
	}
	pthread_join(writer, NULL);
	close(poller.fd);
	test_msg("Round %u: %u faults in the area %s\n", round, faults, m->name);
}

static void map_afresh(void)
{
	if (munmap(fresh.mem, fresh.pages * PAGE_SIZE))
		exit(pr_perror("Can't unmap"));
	model_map(&fresh, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED_NOREPLACE, -1);
}

static unsigned int this_round(const struct model *m, size_t page, unsigned int round)
{
	(void)m, (void)page;
	return round;
}

int main(int argc, char **argv)
{
	unsigned int round;
	size_t wrong = 0;
	int fd;

	test_init(argc, argv);
	rounds_init();
	fd = open_uffd();
	if (fd < 0) {
		skip("userfaultfd with write-protection");
		return 77;
	}
	close(fd);
	model_map_private(&before);
	model_map_private(&always);
	model_map_private(&fresh);
	write_with_faults(&before, 0, true);
	write_with_faults(&always, 0, true);
	write_with_faults(&fresh, 0, true);

	test_daemon();
	while (rounds_next(&round)) {
		map_afresh();
		write_with_faults(&fresh, round, true);
		write_with_faults(&always, round, false);
		model_write(&before, round);
		rounds_done();
	}

	round = rounds_last();
	wrong += model_check(&before, 0, round);
	wrong += model_check(&always, 0, round);
	wrong += model_check_by(&fresh, 0, round, this_round);
	return model_verdict(wrong, round);
}
