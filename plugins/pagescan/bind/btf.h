/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * btf.h - where the running kernel keeps what: its own description of its types (BTF, Documentation/bpf/btf.rst).
 */
#ifndef PAGESCAN_BIND_BTF_H
#define PAGESCAN_BIND_BTF_H

#include <stddef.h>
#include <stdint.h>

struct btf {
	unsigned char *data;
	size_t size;	 /* bytes of data */
	size_t room;	 /* and bytes that are mapped for it */
	uint32_t *types; /* the offset in data of each type by its number, which begin with 1 */
	uint32_t nr;
	const char *strings; /* in data, ends with NUL */
	uint32_t strings_size;
};

/*
 * Read it from @path (BTF_VMLINUX). Returns 0 or a negative errno: -ENOENT where the kernel has none, -EINVAL if it is
 * none, -EOPNOTSUPP for a kind of type that is not known. Then there is nothing to close.
 */
int btf_open(struct btf *btf, const char *path);
void btf_close(struct btf *btf);

/* The number of the function @name, or -ENOENT. */
int btf_function(const struct btf *btf, const char *name);

/*
 * Where @member begins in struct @type, in bytes, be it in anonymous structs and unions of that. Returns -ENOENT if there
 * is none, or if it does not begin with a byte.
 */
int btf_offset(const struct btf *btf, const char *type, const char *member);

#define BTF_VMLINUX "/sys/kernel/btf/vmlinux"

#endif
