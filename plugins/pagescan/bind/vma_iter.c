// SPDX-License-Identifier: GPL-2.0-only
/*
 * vma_iter.c - a BPF iterator over the areas of a task. Calls btf, the kernel.
 *
 * smaps tells the flags, too, but counts the pages of each area for it. The iterator task_vma (kernel/bpf/task_iter.c,
 * Linux 5.12; of one process 6.1) calls a program for each area, which writes what it likes into a file; ours writes
 * three words. Where they are in the kernel's structs is in its description of its types.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "btf.h"
#include "vma_iter.h"

static int bpf(int command, union bpf_attr *attr)
{
	const long ret = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return ret < 0 ? -errno : (int)ret;
}

/* An instruction is { operation, to, from, offset, value } (linux/bpf.h). */
enum {
	LOAD = BPF_LDX | BPF_MEM | BPF_DW,
	STORE = BPF_STX | BPF_MEM | BPF_DW,
	MOVE = BPF_ALU64 | BPF_MOV | BPF_X,
	SET = BPF_ALU64 | BPF_MOV | BPF_K,
	ADD = BPF_ALU64 | BPF_ADD, /* and BPF_K, which is 0 like it */
	SKIP_IF_EQUAL = BPF_JMP | BPF_JEQ | BPF_K,
	CALL = BPF_JMP | BPF_CALL,
	EXIT = BPF_JMP | BPF_EXIT,
};

static int load(const struct btf *btf)
{
	const int function = btf_function(btf, "bpf_iter_task_vma");
	const int meta = btf_offset(btf, "bpf_iter__task_vma", "meta"), seq = btf_offset(btf, "bpf_iter_meta", "seq");
	const int vma = btf_offset(btf, "bpf_iter__task_vma", "vma");
	const int start = btf_offset(btf, "vm_area_struct", "vm_start");
	const int end = btf_offset(btf, "vm_area_struct", "vm_end");
	const int flags = btf_offset(btf, "vm_area_struct", "vm_flags");
	const int size = sizeof(struct vma_bits);
	/* The argument, in register 1, has the file and the area; behind the last area there is a call without one. */
	const struct bpf_insn code[] = {
		{ LOAD, 7, 1, (int16_t)vma, 0 },
		{ SKIP_IF_EQUAL, 7, 0, 12, 0 },
		{ LOAD, 2, 7, (int16_t)start, 0 },
		{ STORE, 10, 2, (int16_t)-size, 0 },
		{ LOAD, 2, 7, (int16_t)end, 0 },
		{ STORE, 10, 2, (int16_t)(8 - size), 0 },
		{ LOAD, 2, 7, (int16_t)flags, 0 },
		{ STORE, 10, 2, (int16_t)(16 - size), 0 },
		{ LOAD, 1, 1, (int16_t)meta, 0 },
		{ LOAD, 1, 1, (int16_t)seq, 0 },
		{ MOVE, 2, 10, 0, 0 },
		{ ADD, 2, 0, 0, -size },
		{ SET, 3, 0, 0, size },
		{ CALL, 0, 0, 0, BPF_FUNC_seq_write },
		{ SET, 0, 0, 0, 0 },
		{ EXIT, 0, 0, 0, 0 },
	};
	union bpf_attr attr;

	if (function < 0 || meta < 0 || seq < 0 || vma < 0 || start < 0 || end < 0 || flags < 0)
		return -ENOENT;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_TRACING;
	attr.expected_attach_type = BPF_TRACE_ITER;
	attr.attach_btf_id = (uint32_t)function;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = sizeof(code) / sizeof(*code);
	attr.license = (uintptr_t) "GPL";
	strcpy(attr.prog_name, "pagescan_vmas");
	return bpf(BPF_PROG_LOAD, &attr);
}

int vma_iter_load(void)
{
	struct btf btf;
	int err = btf_open(&btf, BTF_VMLINUX);

	if (err)
		return err;
	err = load(&btf);
	btf_close(&btf);
	return err;
}

/* A file that tells the areas of process @pid. */
static int open_file(int program, int pid)
{
	union bpf_iter_link_info of = { .task.pid = (uint32_t)pid };
	union bpf_attr attr;
	int link, file;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.attach_type = BPF_TRACE_ITER;
	attr.link_create.iter_info = (uintptr_t)&of;
	attr.link_create.iter_info_len = sizeof(of);
	link = bpf(BPF_LINK_CREATE, &attr);
	if (link < 0)
		return link;
	memset(&attr, 0, sizeof(attr));
	attr.iter_create.link_fd = (uint32_t)link;
	file = bpf(BPF_ITER_CREATE, &attr);
	close(link);
	return file;
}

static int read_file(int file, struct vma_bits **v)
{
	size_t room = 0, size = 0;

	for (;;) {
		struct vma_bits *more = *v;
		ssize_t n;

		if (room - size < 1U << 15) {
			room = room * 2 + (1U << 16);
			more = realloc(*v, room);
		}
		if (!more)
			return -ENOMEM;
		*v = more;
		n = read(file, (char *)more + size, room - size);
		if (n < 0 && errno == EAGAIN)
			continue; /* the program may be asked to go on after many areas (bpf_seq_read) */
		if (n < 0)
			return -errno;
		if (!n)
			return (int)(size / sizeof(**v));
		size += (size_t)n;
	}
}

int vma_iter_read(int program, int pid, struct vma_bits **v)
{
	int file = open_file(program, pid), nr = file;

	*v = NULL;
	if (file >= 0) {
		nr = read_file(file, v);
		close(file);
	}
	if (nr < 0) {
		free(*v);
		*v = NULL;
	}
	return nr;
}
