/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * slots.h - rebind import slots of the main executable: one pointer for each libc function, and nothing else.
 */
#ifndef PAGESCAN_BIND_SLOTS_H
#define PAGESCAN_BIND_SLOTS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * @name: a function that the executable imports, under this name or @alias (NULL for none). @function: what its calls
 * shall reach. @found: the executable does import it.
 */
struct slot {
	const char *name;
	const char *alias;
	void *function;
	bool found;
};

/* A loaded ELF object: where it lies, and its program headers. */
struct elf {
	ElfW(Addr) base;
	const ElfW(Phdr) *phdr;
	size_t nr_phdr;
};

/* The main executable of this process; its headers stay the loader's. */
void slots_main_program(struct elf *elf);

/*
 * Look which of the @nr functions @elf imports: sets @found. Changes nothing else. Returns 0 or -ENOEXEC: no usable
 * dynamic section, or one that leads out of the object's own segments.
 */
int slots_find(const struct elf *elf, struct slot *slots, size_t nr);

/*
 * Point the slots of @elf at the given functions: all, or none on an error. Memory protection (RELRO) is as before
 * afterwards. Call it while no other thread runs. Returns 0, -ENOEXEC or what mprotect said.
 */
int slots_bind(const struct elf *elf, struct slot *slots, size_t nr);

#endif
