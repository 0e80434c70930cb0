// SPDX-License-Identifier: GPL-2.0-only
/*
 * btf.c - find a function and the members of structs in the kernel's description of its types. Calls libc.
 *
 * libbpf does so, too, but takes 100 ms for it, as it looks at all there is, and criu would have to load it with two more
 * libraries; this takes 7 ms where the file can be mapped. The format is that of linux/btf.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "btf.h"

/* Since Linux 6.0; a header may be older. */
#define KIND_ENUM64 19

/* Structs within structs: the kernel's go a few deep. */
#define DEEPEST 8

/* A read of this file gives a page at a time, so it is mapped where it can be (Linux 6.16). */
static int read_all(struct btf *btf, int fd)
{
	struct stat st;
	ssize_t n = 1;

	if (fstat(fd, &st))
		return -errno;
	btf->room = (size_t)st.st_size;
	btf->data = mmap(NULL, btf->room, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (btf->data != MAP_FAILED) {
		btf->size = btf->room;
		return 0;
	}
	btf->data = mmap(NULL, btf->room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while (btf->data != MAP_FAILED && n > 0) {
		n = read(fd, btf->data + btf->size, btf->room - btf->size);
		btf->size += n > 0 ? (size_t)n : 0;
	}
	return btf->data == MAP_FAILED || n < 0 ? -errno : 0;
}

/* What follows a type of this kind, in bytes, or a negative errno. */
static int64_t behind(const struct btf_type *type)
{
	const uint32_t nr = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return (int64_t)nr * (int64_t)sizeof(struct btf_member);
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return (int64_t)nr * 8;
	case BTF_KIND_DATASEC:
	case KIND_ENUM64:
		return (int64_t)nr * 12;
	default:
		return -EOPNOTSUPP;
	}
}

static const struct btf_type *type_at(const struct btf *btf, uint32_t id)
{
	return (const struct btf_type *)(const void *)(btf->data + btf->types[id]);
}

/* Number the types, which lie in [at, end) of the data. */
static int index_types(struct btf *btf, uint64_t at, uint64_t end)
{
	/* The shortest type has 12 bytes. */
	btf->types = calloc((end - at) / sizeof(struct btf_type) + 1, sizeof(*btf->types));
	if (!btf->types)
		return -ENOMEM;
	while (at < end) {
		int64_t more;

		if (end - at < sizeof(struct btf_type))
			return -EINVAL;
		btf->types[++btf->nr] = (uint32_t)at;
		more = behind(type_at(btf, btf->nr));
		at += sizeof(struct btf_type);
		if (more < 0)
			return (int)more;
		if (end - at < (uint64_t)more)
			return -EINVAL;
		at += (uint64_t)more;
	}
	return 0;
}

static int look_through(struct btf *btf)
{
	const struct btf_header *header = (const void *)btf->data;
	uint64_t types, strings;

	if (btf->size < sizeof(*header) || header->magic != BTF_MAGIC || header->version != BTF_VERSION)
		return -EINVAL;
	types = (uint64_t)header->hdr_len + header->type_off;
	strings = (uint64_t)header->hdr_len + header->str_off;
	if (types % 4 || types + header->type_len > btf->size || strings + header->str_len > btf->size ||
	    !header->str_len || btf->data[strings + header->str_len - 1])
		return -EINVAL;
	btf->strings = (const char *)btf->data + strings;
	btf->strings_size = header->str_len;
	return index_types(btf, types, types + header->type_len);
}

int btf_open(struct btf *btf, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	*btf = (struct btf){ 0 };
	if (fd < 0)
		return -errno;
	err = read_all(btf, fd);
	close(fd);
	if (!err)
		err = look_through(btf);
	if (err)
		btf_close(btf);
	return err;
}

void btf_close(struct btf *btf)
{
	if (btf->data && btf->data != MAP_FAILED)
		munmap(btf->data, btf->room);
	free(btf->types);
	*btf = (struct btf){ 0 };
}

static const char *name_at(const struct btf *btf, uint32_t off)
{
	return off < btf->strings_size ? btf->strings + off : "";
}

static uint32_t find(const struct btf *btf, uint32_t kind, const char *name)
{
	for (uint32_t id = 1; id <= btf->nr; id++) {
		const struct btf_type *type = type_at(btf, id);

		if (BTF_INFO_KIND(type->info) == kind && !strcmp(name_at(btf, type->name_off), name))
			return id;
	}
	return 0;
}

int btf_function(const struct btf *btf, const char *name)
{
	const uint32_t id = find(btf, BTF_KIND_FUNC, name);

	return id ? (int)id : -ENOENT;
}

/* In bits, or -ENOENT. */
static int64_t offset_in(const struct btf *btf, uint32_t id, const char *name, int depth)
{
	const struct btf_type *type = id && id <= btf->nr ? type_at(btf, id) : NULL;
	const uint32_t kind = type ? BTF_INFO_KIND(type->info) : BTF_KIND_UNKN;
	const struct btf_member *members;

	if ((kind != BTF_KIND_STRUCT && kind != BTF_KIND_UNION) || depth > DEEPEST)
		return -ENOENT;
	members = (const void *)(type + 1);
	for (uint32_t i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		const struct btf_member *member = &members[i];
		const char *its = name_at(btf, member->name_off);
		const int64_t bit = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(member->offset) : member->offset;
		int64_t inside;

		if (!strcmp(its, name))
			return bit;
		inside = *its ? -ENOENT : offset_in(btf, member->type, name, depth + 1);
		if (inside >= 0)
			return bit + inside;
	}
	return -ENOENT;
}

int btf_offset(const struct btf *btf, const char *type, const char *member)
{
	const int64_t bits = offset_in(btf, find(btf, BTF_KIND_STRUCT, type), member, 0);

	/* What is farther in than an instruction of BPF can reach is in no struct that is asked about. */
	return bits >= 0 && bits % 8 == 0 && bits / 8 <= INT16_MAX ? (int)(bits / 8) : -ENOENT;
}
