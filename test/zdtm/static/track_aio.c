// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a device writes while nothing of the process runs: in the first two rounds, asynchronous reads with
 * O_DIRECT are under way. They go past the page tables, and what they wrote after a page was copied is in no image.
 */
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "track.h"

const char *test_doc = "Asynchronous direct reads that go on while the process is frozen";
const char *test_author = "criu-pagescan";

/* So much is on its way at any time that it takes longer than a moment, and twice that in the file. */
enum { BUFFERS = 16, BUFFER_PAGES = 512, VERSIONS = 2, BUSY_ROUNDS = 2 };

static struct pages memory;
static int source = -1;
static aio_context_t ring;
static struct iocb requests[BUFFERS];
static pthread_t reader;
static bool enough;

static bool write_source(void)
{
	const size_t size = BUFFER_PAGES * (size_t)page_size;
	uint8_t *buffer = map_anon(BUFFER_PAGES, 0);
	bool good = true;

	source = open("track_aio.source", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	for (unsigned int i = 0; good && i < BUFFERS * VERSIONS; i++) {
		for (unsigned int page = 0; page < BUFFER_PAGES; page++)
			page_fill(buffer + page * page_size, memory.id + i / VERSIONS * BUFFER_PAGES + page,
				  i % VERSIONS + 1);
		good = pwrite(source, buffer, size, (off_t)(i * size)) == (ssize_t)size;
	}
	munmap(buffer, size);
	return good;
}

static void submit(unsigned int buffer, unsigned int version)
{
	const size_t size = BUFFER_PAGES * (size_t)page_size;
	struct iocb *request = &requests[buffer];

	*request = (struct iocb){ .aio_data = buffer * VERSIONS + version,
				  .aio_lio_opcode = IOCB_CMD_PREAD,
				  .aio_fildes = source,
				  .aio_buf = (uintptr_t)memory.mem + buffer * size,
				  .aio_nbytes = size,
				  .aio_offset = (int64_t)((buffer * VERSIONS + version) * size) };
	if (syscall(SYS_io_submit, ring, 1, &request) != 1)
		exit(pr_perror("io_submit"));
}

static void *read_on(void *unused)
{
	unsigned int on_their_way = BUFFERS;

	for (unsigned int i = 0; i < BUFFERS; i++)
		submit(i, 0);
	while (on_their_way) {
		struct io_event event;
		unsigned int buffer, version;
		struct pages part;

		if (syscall(SYS_io_getevents, ring, 1, 1, &event, NULL) != 1)
			continue;
		if (event.res != BUFFER_PAGES * page_size)
			exit(pr_err("a read ended with %lld\n", (long long)event.res));
		buffer = event.data / VERSIONS;
		version = event.data % VERSIONS;
		part = pages_part(&memory, buffer * BUFFER_PAGES, BUFFER_PAGES);
		pages_expect(&part, version + 1);
		if (__atomic_load_n(&enough, __ATOMIC_SEQ_CST))
			on_their_way--;
		else
			submit(buffer, (version + 1) % VERSIONS);
	}
	return unused;
}

/* What is under way in a last dump is lost by criu itself. */
static void end_reads(unsigned int round)
{
	if (round + 1 != BUSY_ROUNDS)
		return;
	__atomic_store_n(&enough, true, __ATOMIC_SEQ_CST);
	pthread_join(reader, NULL);
	close(source);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	model_init();
	memory = pages_map(BUFFERS * BUFFER_PAGES);
	pages_write(&memory);
	if (!write_source()) {
		skip("a working directory with O_DIRECT");
		return 77;
	}
	if (syscall(SYS_io_setup, BUFFERS, &ring)) {
		skip("asynchronous reads (io_setup)");
		return 77;
	}
	if (pthread_create(&reader, NULL, read_on, NULL))
		return pr_perror("pthread_create");

	test_daemon();
	between_rounds(end_reads);

	if (pages_verify(&memory, "memory that a device wrote"))
		return 1;
	pass();
	return 0;
}
