// SPDX-License-Identifier: GPL-2.0-only
/*
 * write.c - operations that write pages: by the CPU, by the kernel for the thread itself, and by another process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "torture.h"

#define AT_ONCE 8 /* pages in one call of the kernel's; they fit into a pipe and into SCRATCH */

static bool is_readable(const struct page *page)
{
	return is_accessible(page) && page->prot & PROT_READ;
}

/* By a debugger: in private memory whatever the protection is. */
static bool is_forcible(const struct page *page)
{
	return is_private(page) ? is_accessible(page) : is_writable(page);
}

static void expect(const struct self *me, unsigned int page, uint64_t tag, enum operation by)
{
	me->thread->pages[page].want = tag;
	me->thread->pages[page].by = (uint8_t)by;
}

void write_page(const struct self *me, unsigned int page, enum operation by)
{
	uint64_t tag = tag_new();

	page_fill(page_addr(me, page), tag);
	expect(me, page, tag, by);
}

bool op_write(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, is_writable, &first, &nr))
		return false;
	for (unsigned int i = first; i < first + nr; i += 1 + draw(me, 4))
		write_page(me, i, OP_write);
	return true;
}

bool op_write_all(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, is_writable, &first, &nr))
		return false;
	for (unsigned int i = first; i < first + nr; i++)
		write_page(me, i, OP_write_all);
	return true;
}

/* Pages that KSM can merge. */
bool op_write_alike(const struct self *me)
{
	uint64_t tag = tag_new();
	unsigned int first, nr;

	if (!find_run(me, is_writable, &first, &nr))
		return false;
	for (unsigned int i = first; i < first + nr; i++) {
		page_fill(page_addr(me, i), tag);
		expect(me, i, tag, OP_write_alike);
	}
	return true;
}

/* Reading makes the zero page, a file's page or a huge page appear. */
bool op_look(const struct self *me)
{
	unsigned int first, nr;

	if (!find_run(me, is_readable, &first, &nr))
		return false;
	for (unsigned int i = first; i < first + nr; i++)
		(void)*(volatile uint8_t *)page_addr(me, i);
	return true;
}

static uint8_t *scratch_of(const struct self *me)
{
	return model->scratch[me->process - model->processes][me->number];
}

/* New contents in the scratch memory for some pages from @first on, and where they shall go. */
struct letter {
	unsigned int nr;
	unsigned int first;
	uint64_t tags[AT_ONCE];
	struct iovec from[AT_ONCE];
	struct iovec to[AT_ONCE];
};

static bool letter_write(const struct self *me, bool (*fits)(const struct page *page), struct letter *letter)
{
	unsigned int limit = SCRATCH / (unsigned int)page_size < AT_ONCE ? SCRATCH / (unsigned int)page_size : AT_ONCE;

	if (!find_run(me, fits, &letter->first, &letter->nr))
		return false;
	if (letter->nr > limit)
		letter->nr = limit;
	for (unsigned int i = 0; i < letter->nr; i++) {
		letter->tags[i] = tag_new();
		letter->from[i] = (struct iovec){ scratch_of(me) + i * page_size, page_size };
		letter->to[i] = (struct iovec){ page_addr(me, letter->first + i), page_size };
		page_fill(letter->from[i].iov_base, letter->tags[i]);
	}
	return true;
}

/* It has arrived, or part of it has and something is badly wrong. */
static bool letter_read(const struct self *me, const struct letter *letter, ssize_t got, enum operation by)
{
	if (got != (ssize_t)(letter->nr * page_size))
		complain("pages by operation %d: %zd bytes: %s", by, got, strerror(errno));
	for (unsigned int i = 0; i < letter->nr; i++)
		expect(me, letter->first + i, letter->tags[i], by);
	return true;
}

static bool read_file(const struct self *me, int fd, enum operation by)
{
	off_t offset = scratch_of(me) - (uint8_t *)model;
	struct letter letter;

	if (!letter_write(me, is_writable, &letter))
		return false;
	return letter_read(me, &letter, preadv(fd, letter.to, (int)letter.nr, offset), by);
}

bool op_read_file(const struct self *me)
{
	return read_file(me, FD_MODEL, OP_read_file);
}

bool op_read_direct(const struct self *me)
{
	return read_file(me, FD_DIRECT, OP_read_direct);
}

bool op_read_pipe(const struct self *me)
{
	struct letter letter;
	ssize_t got = -1;
	int fds[2];

	if (!letter_write(me, is_writable, &letter))
		return false;
	if (pipe2(fds, O_CLOEXEC)) {
		complain("pipe: %s", strerror(errno));
		return false;
	}
	if (writev(fds[1], letter.from, (int)letter.nr) == (ssize_t)(letter.nr * page_size))
		got = readv(fds[0], letter.to, (int)letter.nr);
	close(fds[0]);
	close(fds[1]);
	return letter_read(me, &letter, got, OP_read_pipe);
}

bool op_receive(const struct self *me)
{
	struct letter letter;
	ssize_t got = -1;
	int fds[2];

	if (!letter_write(me, is_writable, &letter))
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		complain("socketpair: %s", strerror(errno));
		return false;
	}
	if (writev(fds[0], letter.from, (int)letter.nr) == (ssize_t)(letter.nr * page_size)) {
		struct msghdr msg = { .msg_iov = letter.to, .msg_iovlen = letter.nr };

		got = recvmsg(fds[1], &msg, MSG_WAITALL);
	}
	close(fds[0]);
	close(fds[1]);
	return letter_read(me, &letter, got, OP_receive);
}

/* As a debugger does, whatever the area's protection is. */
static ssize_t write_by_proc(int pid, const struct iovec *from, unsigned int nr, uint64_t addr)
{
	ssize_t done;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	done = pwritev(fd, from, (int)nr, (off_t)addr);
	close(fd);
	return done;
}

bool op_force(const struct self *me)
{
	struct letter letter;
	ssize_t done;

	if (!letter_write(me, is_forcible, &letter))
		return false;
	done = write_by_proc(me->process->pid, letter.from, letter.nr, (uintptr_t)letter.to[0].iov_base);
	return letter_read(me, &letter, done, OP_force);
}

/* Ask another process to write a page of ours; give up if nobody does. */
bool op_ask(const struct self *me)
{
	struct request *request = &me->thread->request;
	unsigned int page, nr, waited = 0;
	int state = OPEN;

	request->force = !draw(me, 4);
	if (!find_run(me, request->force ? is_forcible : is_writable, &page, &nr))
		return false;
	request->addr = (uintptr_t)page_addr(me, page);
	request->tag = tag_new();
	__atomic_store_n(&request->state, OPEN, __ATOMIC_SEQ_CST);
	while ((state = (int)__atomic_load_n(&request->state, __ATOMIC_SEQ_CST)) != DONE) {
		unsigned int open = OPEN;

		if (state == OPEN && waited++ > 50 &&
		    __atomic_compare_exchange_n(&request->state, &open, IDLE, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return false;
		usleep(200);
	}
	if (request->error)
		complain("another process cannot write here%s: %s", request->force ? " by force" : "",
			 strerror(request->error));
	expect(me, page, request->tag, OP_ask);
	request->state = IDLE;
	return true;
}

static void serve(const struct self *me, const struct process *process, struct request *request)
{
	struct iovec from = { scratch_of(me), page_size };
	struct iovec to = { (void *)request->addr, page_size };
	ssize_t done;

	page_fill(from.iov_base, request->tag);
	if (request->force)
		done = write_by_proc(process->pid, &from, 1, request->addr);
	else
		done = process_vm_writev(process->pid, &from, 1, &to, 1, 0);
	request->error = done == (ssize_t)page_size ? 0 : errno;
	__atomic_store_n(&request->state, DONE, __ATOMIC_SEQ_CST);
}

/* Do what threads of other processes ask for. A thread ends, and a process too, only when it is not at that. */
void requests_serve(const struct self *me)
{
	for (struct process *process = model->processes; process < model->processes + PROCESSES; process++) {
		if (process->state != LIVING || process == me->process)
			continue;
		for (unsigned int i = 0; i < THREADS; i++) {
			struct request *request = &process->threads[i].request;
			unsigned int open = OPEN;

			if (request->state == OPEN &&
			    __atomic_compare_exchange_n(&request->state, &open, CLAIMED, false, __ATOMIC_SEQ_CST,
							__ATOMIC_SEQ_CST))
				serve(me, process, request);
		}
	}
}
