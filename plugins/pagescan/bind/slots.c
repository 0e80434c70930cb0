// SPDX-License-Identifier: GPL-2.0-only
/*
 * slots.c - walk the relocations of the executable's dynamic section and rebind what is asked for. Calls libc only.
 *
 * A caller in the executable reaches a libc function through a pointer that the dynamic loader fills from a
 * JUMP_SLOT relocation (calls through the PLT) or a GLOB_DAT one (-fno-plt, function addresses). With lazy binding
 * the pointer may not be resolved yet, which does not matter: it is replaced, and our functions call libc through
 * slots of their own.
 *
 * The program headers are believed, as the kernel and the loader have acted on them. The tables are not: an executable
 * may be damaged where nobody has looked yet, so every access is held within its loaded segments.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "slots.h"

#if defined(__x86_64__)
#define RELOC_JUMP_SLOT R_X86_64_JUMP_SLOT
#define RELOC_GLOB_DAT	R_X86_64_GLOB_DAT
#elif defined(__aarch64__)
#define RELOC_JUMP_SLOT R_AARCH64_JUMP_SLOT
#define RELOC_GLOB_DAT	R_AARCH64_GLOB_DAT
#else
#error "import slots: x86-64 and arm64 only"
#endif

/* A function is imported once or twice, by each kind of relocation. */
#define TARGETS_MAX 64

struct dynamic {
	ElfW(Addr) strings;
	ElfW(Addr) symbols;
	ElfW(Addr) rela[2]; /* DT_JMPREL, DT_RELA */
	size_t strings_size;
	size_t nr_rela[2];
};

static int first_object(struct dl_phdr_info *info, size_t size, void *data)
{
	struct elf *elf = data;

	(void)size;
	*elf = (struct elf){ info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum };
	return 1;
}

void slots_main_program(struct elf *elf)
{
	/* dl_iterate_phdr(3): the first object visited is the main program. */
	dl_iterate_phdr(first_object, elf);
}

/* glibc has relocated these pointers in place on most architectures, musl never does. */
static ElfW(Addr) absolute(const struct elf *elf, ElfW(Addr) value)
{
	return value < elf->base ? elf->base + value : value;
}

/* The memory at @addr if @len bytes of it lie in one segment with these rights, else NULL. */
static void *loaded(const struct elf *elf, ElfW(Addr) addr, size_t len, ElfW(Word) rights)
{
	for (size_t i = 0; i < elf->nr_phdr; i++) {
		const ElfW(Phdr) *phdr = &elf->phdr[i];
		const ElfW(Addr) offset = addr - (elf->base + phdr->p_vaddr);

		if (phdr->p_type == PT_LOAD && (phdr->p_flags & rights) == rights && offset <= phdr->p_memsz &&
		    len <= phdr->p_memsz - offset)
			return (void *)addr;
	}
	return NULL;
}

/* An entry of a table, or a slot: these are aligned. */
static void *loaded_aligned(const struct elf *elf, ElfW(Addr) addr, size_t len, ElfW(Word) rights)
{
	return addr % sizeof(ElfW(Addr)) ? NULL : loaded(elf, addr, len, rights);
}

/* NULL where the string does not end within the strings. */
static const char *string_at(const struct elf *elf, const struct dynamic *dynamic, size_t at)
{
	const size_t left = at < dynamic->strings_size ? dynamic->strings_size - at : 0;
	const char *string = loaded(elf, dynamic->strings + at, left, PF_R);

	return string && strnlen(string, left) < left ? string : NULL;
}

static int read_dynamic(const struct elf *elf, struct dynamic *dynamic)
{
	ElfW(Addr) at = 0;
	const ElfW(Dyn) *dyn;
	bool rela = true;

	*dynamic = (struct dynamic){ 0 };
	for (size_t i = 0; i < elf->nr_phdr; i++) {
		if (elf->phdr[i].p_type == PT_DYNAMIC)
			at = elf->base + elf->phdr[i].p_vaddr;
	}

	for (; (dyn = loaded_aligned(elf, at, sizeof(*dyn), PF_R)) && dyn->d_tag != DT_NULL; at += sizeof(*dyn)) {
		switch (dyn->d_tag) {
		case DT_STRTAB:
			dynamic->strings = absolute(elf, dyn->d_un.d_ptr);
			break;
		case DT_STRSZ:
			dynamic->strings_size = dyn->d_un.d_val;
			break;
		case DT_SYMTAB:
			dynamic->symbols = absolute(elf, dyn->d_un.d_ptr);
			break;
		case DT_JMPREL:
			dynamic->rela[0] = absolute(elf, dyn->d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			dynamic->nr_rela[0] = dyn->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_PLTREL:
			rela = dyn->d_un.d_val == DT_RELA;
			break;
		case DT_RELA:
			dynamic->rela[1] = absolute(elf, dyn->d_un.d_ptr);
			break;
		case DT_RELASZ:
			dynamic->nr_rela[1] = dyn->d_un.d_val / sizeof(ElfW(Rela));
			break;
		}
	}
	for (size_t i = 0; i < 2; i++) {
		if (!dynamic->rela[i])
			dynamic->nr_rela[i] = 0;
	}
	return rela && dynamic->strings && dynamic->symbols ? 0 : -ENOEXEC;
}

/* The dynamic loader protects whole pages only: it rounds both ends of the range down (elf/dl-reloc.c). */
static bool in_relro(const struct elf *elf, uintptr_t addr)
{
	const uintptr_t page = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);

	for (size_t i = 0; i < elf->nr_phdr; i++) {
		const ElfW(Phdr) *phdr = &elf->phdr[i];

		if (phdr->p_type == PT_GNU_RELRO && addr >= ((elf->base + phdr->p_vaddr) & page) &&
		    addr < ((elf->base + phdr->p_vaddr + phdr->p_memsz) & page))
			return true;
	}
	return false;
}

/* What a walk found: pointers, and what each shall be. */
struct targets {
	size_t nr;
	struct {
		void **pointer;
		void *function;
	} v[TARGETS_MAX];
};

static int protect(const struct elf *elf, void **pointer, int rights)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!in_relro(elf, (uintptr_t)pointer))
		return 0;
	return mprotect((void *)((uintptr_t)pointer & ~(page - 1)), page, rights) ? -errno : 0;
}

/* All or none: a criu with some of our functions and some of libc's would get answers that contradict each other. */
static int set_all(const struct elf *elf, const struct targets *targets)
{
	int err = 0;

	for (size_t i = 0; !err && i < targets->nr; i++)
		err = protect(elf, targets->v[i].pointer, PROT_READ | PROT_WRITE);
	for (size_t i = 0; !err && i < targets->nr; i++)
		*targets->v[i].pointer = targets->v[i].function;
	/* What stays writable is no reason to go without. */
	for (size_t i = 0; i < targets->nr; i++)
		(void)protect(elf, targets->v[i].pointer, PROT_READ);
	return err;
}

static struct slot *slot_named(struct slot *slots, size_t nr, const char *name)
{
	for (size_t i = 0; i < nr; i++) {
		if (!strcmp(slots[i].name, name) || (slots[i].alias && !strcmp(slots[i].alias, name)))
			return &slots[i];
	}
	return NULL;
}

static int walk_one(const struct elf *elf, const struct dynamic *dynamic, const ElfW(Rela) *rela, struct slot *slots,
		    size_t nr, struct targets *targets)
{
	const unsigned long type = ELF64_R_TYPE(rela->r_info);
	const ElfW(Sym) *symbol;
	const char *name;
	struct slot *slot;
	void **pointer;

	if (type != RELOC_JUMP_SLOT && type != RELOC_GLOB_DAT)
		return 0;
	symbol = loaded_aligned(elf, dynamic->symbols + ELF64_R_SYM(rela->r_info) * sizeof(*symbol), sizeof(*symbol),
				PF_R);
	name = symbol ? string_at(elf, dynamic, symbol->st_name) : NULL;
	slot = name ? slot_named(slots, nr, name) : NULL;
	if (!slot)
		return 0;
	pointer = loaded_aligned(elf, elf->base + rela->r_offset, sizeof(*pointer), PF_W);
	if (!pointer)
		return -ENOEXEC;
	slot->found = true;
	if (!targets)
		return 0;
	if (targets->nr == TARGETS_MAX)
		return -ENOEXEC;
	targets->v[targets->nr].pointer = pointer;
	targets->v[targets->nr++].function = slot->function;
	return 0;
}

static int walk(const struct elf *elf, struct slot *slots, size_t nr, struct targets *targets)
{
	struct dynamic dynamic;
	int err = read_dynamic(elf, &dynamic);

	for (size_t table = 0; !err && table < 2; table++) {
		for (size_t i = 0; !err && i < dynamic.nr_rela[table]; i++) {
			const ElfW(Rela) *rela =
				loaded_aligned(elf, dynamic.rela[table] + i * sizeof(*rela), sizeof(*rela), PF_R);

			err = rela ? walk_one(elf, &dynamic, rela, slots, nr, targets) : -ENOEXEC;
		}
	}
	return err;
}

int slots_find(const struct elf *elf, struct slot *slots, size_t nr)
{
	return walk(elf, slots, nr, NULL);
}

int slots_bind(const struct elf *elf, struct slot *slots, size_t nr)
{
	struct targets targets = { 0 };
	int err = walk(elf, slots, nr, &targets);

	return err ? err : set_all(elf, &targets);
}
