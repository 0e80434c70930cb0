// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the task itself never stores to: between rounds, the kernel writes it on the task's behalf, by read(2),
 * readv(2), recvmsg(2) and by O_DIRECT reads, where it is a device that writes.
 */
#include <sys/socket.h>
#include <sys/uio.h>

#include "track_model.h"

const char *test_doc = "tracked memory written by the kernel";
const char *test_author = "criu-pagescan";

static struct model area = { .name = "written by the kernel", .id = 1, .pages = 2048 };
static unsigned char *bounce; /* what the kernel shall write; shared memory, as it is always dumped */
static int source;	      /* a file without a name, opened for O_DIRECT; it lives for one round */

static bool check(const char *call, ssize_t done)
{
	if (done != (ssize_t)PAGE_SIZE) {
		pr_perror("%s: %zd bytes", call, done);
		exit(1);
	}
	return true;
}

static void by_read(void *to)
{
	int fd = memfd_create("source", MFD_CLOEXEC);

	check("write", write(fd, bounce, PAGE_SIZE));
	check("lseek", PAGE_SIZE + lseek(fd, 0, SEEK_SET));
	check("read", read(fd, to, PAGE_SIZE));
	close(fd);
}

/* In pieces that end within words. */
static void by_readv(void *to)
{
	struct iovec pieces[] = { { to, 1 }, { (char *)to + 1, 2046 }, { (char *)to + 2047, PAGE_SIZE - 2047 } };
	int fds[2];

	if (pipe(fds)) {
		pr_perror("pipe");
		exit(1);
	}
	check("write", write(fds[1], bounce, PAGE_SIZE));
	check("readv", readv(fds[0], pieces, ARRAY_SIZE(pieces)));
	close(fds[0]);
	close(fds[1]);
}

static void by_recvmsg(void *to)
{
	struct iovec whole = { to, PAGE_SIZE };
	struct msghdr message = { .msg_iov = &whole, .msg_iovlen = 1 };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) {
		pr_perror("socketpair");
		exit(1);
	}
	check("send", send(fds[0], bounce, PAGE_SIZE, 0));
	check("recvmsg", recvmsg(fds[1], &message, MSG_WAITALL));
	close(fds[0]);
	close(fds[1]);
}

static void by_direct_read(void *to)
{
	check("O_DIRECT write", pwrite(source, bounce, PAGE_SIZE, 0));
	check("O_DIRECT read", pread(source, to, PAGE_SIZE, 0));
}

static void (*const writers[])(void *to) = { by_read, by_readv, by_recvmsg, by_direct_read };

/* Each page keeps its writer. */
static void write_page(size_t page, unsigned int generation)
{
	model_make(&area, page, generation, bounce);
	writers[page % ARRAY_SIZE(writers)](model_addr(&area, page));
}

static bool open_source(void)
{
	source = open(".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	return source >= 0 && pwrite(source, bounce, PAGE_SIZE, 0) == (ssize_t)PAGE_SIZE;
}

int main(int argc, char **argv)
{
	unsigned int round;

	test_init(argc, argv);
	rounds_init();
	model_map_private(&area);
	bounce = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bounce == MAP_FAILED)
		return pr_perror("Can't map the source");
	if (!open_source()) {
		skip("a working directory with O_TMPFILE and O_DIRECT");
		return 77;
	}
	for (size_t page = 0; page < area.pages; page++)
		write_page(page, 0);
	close(source);

	test_daemon();
	while (rounds_next(&round)) {
		if (!open_source())
			return pr_perror("Can't open a file with O_DIRECT again");
		for (size_t page = 0; page < area.pages; page++)
			if (model_hit(&area, page, round))
				write_page(page, round);
		close(source);
		rounds_done();
	}

	round = rounds_last();
	return model_verdict(model_check(&area, 0, round), round);
}
