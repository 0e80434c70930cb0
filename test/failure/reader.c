// SPDX-License-Identifier: GPL-2.0-only
/*
 * reader DIRECTORY - a process whose asynchronous direct reads take as long as the test wants (held_disk.h). The file
 * "status" in the directory has numbers: the process's pid; reads to be submitted so far, by the test's will; reads that
 * were submitted, and that have ended; whether reads are held. The disk's server is another process, as is this one's
 * parent, which only keeps it.
 *
 * Read number i goes to page i of the memory. On SIGTERM each page is looked at, and the process exits with 0 if all
 * hold what they must.
 */
#include <linux/aio_abi.h>
#include <sys/syscall.h>

#include "../held_disk.h"

enum { PID, WANTED, SUBMITTED, ENDED, HOLD, NUMBERS };

#define READS	  64
#define UNTOUCHED ((char)0xee)

static volatile int *status;
static char *memory;
static aio_context_t ring;
static volatile sig_atomic_t ending;

static void on_term(int signo)
{
	(void)signo;
	ending = 1;
}

/* No neighbour of one that was read: what FUSE has it need not ask for. */
static unsigned int source_of(int number)
{
	return (unsigned int)number * 8;
}

static void submit(int data, int number)
{
	struct iocb request = { .aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_fildes = (uint32_t)data,
				.aio_buf = (uintptr_t)memory + (uintptr_t)number * HELD_PAGE,
				.aio_nbytes = HELD_PAGE,
				.aio_offset = (int64_t)source_of(number) * HELD_PAGE };
	struct iocb *requests = &request;

	if (syscall(SYS_io_submit, ring, 1, &requests) != 1)
		exit(2);
}

static int verdict(void)
{
	for (int i = 0; i < READS; i++) {
		const char byte = i < status[ENDED] ? held_byte(source_of(i)) : UNTOUCHED;

		for (size_t at = 0; at < HELD_PAGE; at++) {
			if (memory[(size_t)i * HELD_PAGE + at] != byte)
				return 1;
		}
	}
	return 0;
}

static int read_on(const char *path)
{
	const int data = open(path, O_RDONLY | O_DIRECT);
	struct timespec moment = { .tv_nsec = 1000000 };
	struct io_event event;

	memory = mmap(NULL, READS * HELD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data < 0 || memory == MAP_FAILED || syscall(SYS_io_setup, READS, &ring))
		return 2;
	memset(memory, UNTOUCHED, READS * HELD_PAGE);
	signal(SIGTERM, on_term);
	status[PID] = getpid();
	while (!ending) {
		if (status[SUBMITTED] < status[WANTED]) {
			submit(data, status[SUBMITTED]);
			status[SUBMITTED]++;
		}
		if (syscall(SYS_io_getevents, ring, 1, 1, &event, &moment) == 1)
			status[ENDED]++;
	}
	return verdict();
}

int main(int argc, char **argv)
{
	static const char mount_point[] = "/run/disk"; /* the directory's own name may be too long */
	char path[256];
	struct held_disk disk = { 0 };
	int file;

	snprintf(path, sizeof(path), "%s/status", argc == 2 ? argv[1] : ".");
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, NUMBERS * sizeof(int)))
		return 2;
	status = mmap(NULL, NUMBERS * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	mkdir(mount_point, 0700);
	if (status == MAP_FAILED || !held_disk_make(&disk, mount_point, (int *)&status[HOLD]))
		return 77;
	if (!fork()) {
		setsid();
		snprintf(path, sizeof(path), "%s/data", mount_point);
		return read_on(path);
	}
	signal(SIGCHLD, SIG_IGN);
	for (;;)
		pause();
}
