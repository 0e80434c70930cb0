// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rebinding imports: in programs linked in all the ways there are (slots_program.c), and in dynamic sections made by
 * hand, good and bad.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "bind/slots.h"
#include "processes.h"

#if defined(__x86_64__)
#define JUMP_SLOT R_X86_64_JUMP_SLOT
#define GLOB_DAT  R_X86_64_GLOB_DAT
#define OTHER	  R_X86_64_64
#else
#define JUMP_SLOT R_AARCH64_JUMP_SLOT
#define GLOB_DAT  R_AARCH64_GLOB_DAT
#define OTHER	  R_AARCH64_ABS64
#endif

static void a_program_rebinds_its_own_calls(void **state)
{
	const char *name = *state;
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
	int line;
	pid_t pid;

	assert_true(len > 0);
	path[len] = '\0';
	dirname(path);
	strcat(strcat(path, "/"), name);
	pid = start_child();
	if (!pid) {
		execl(path, name, NULL);
		_exit(255);
	}
	line = await_end(pid);
	if (line)
		fail_msg("slots_program.c, line %d (modulo 256)", line);
}

/* An executable's tables as the loader would leave them. The pages at the end hold the pointers to be rebound. */
struct image {
	ElfW(Phdr) phdr[3];
	ElfW(Dyn) dyn[9];
	ElfW(Sym) symbols[3];
	ElfW(Rela) plt[2];
	ElfW(Rela) got[2];
	char strings[32];
};

static struct image *image;
static void **pointers;
static size_t size;
static struct elf elf;

static void ours(void)
{
}

static int make_image(void **state)
{
	const ElfW(Rela) plt[] = { { 0, ELF64_R_INFO(1, JUMP_SLOT), 0 }, { 8, ELF64_R_INFO(2, JUMP_SLOT), 0 } };
	const ElfW(Rela) got[] = { { 16, ELF64_R_INFO(1, GLOB_DAT), 0 }, { 24, ELF64_R_INFO(1, OTHER), 0 } };
	ElfW(Addr) base;

	(void)state;
	size = (size_t)sysconf(_SC_PAGESIZE);
	image = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pointers = (void **)((char *)image + size);
	base = (uintptr_t)image;
	memcpy(image->strings, "\0wanted\0other", 14);
	image->symbols[1].st_name = 1;
	image->symbols[2].st_name = 8;
	memcpy(image->plt, plt, sizeof(plt));
	memcpy(image->got, got, sizeof(got));
	for (int i = 0; i < 2; i++) {
		image->plt[i].r_offset += size;
		image->got[i].r_offset += size;
	}
	/* Some addresses as glibc leaves them, some as musl does. */
	image->dyn[0] = (ElfW(Dyn)){ DT_STRTAB, { base + offsetof(struct image, strings) } };
	image->dyn[1] = (ElfW(Dyn)){ DT_STRSZ, { 14 } };
	image->dyn[2] = (ElfW(Dyn)){ DT_SYMTAB, { offsetof(struct image, symbols) } };
	image->dyn[3] = (ElfW(Dyn)){ DT_JMPREL, { base + offsetof(struct image, plt) } };
	image->dyn[4] = (ElfW(Dyn)){ DT_PLTRELSZ, { sizeof(image->plt) } };
	image->dyn[5] = (ElfW(Dyn)){ DT_PLTREL, { DT_RELA } };
	image->dyn[6] = (ElfW(Dyn)){ DT_RELA, { offsetof(struct image, got) } };
	image->dyn[7] = (ElfW(Dyn)){ DT_RELASZ, { sizeof(image->got) } };
	image->phdr[0] = (ElfW(Phdr)){ .p_type = PT_DYNAMIC, .p_vaddr = offsetof(struct image, dyn) };
	image->phdr[1] = (ElfW(Phdr)){ .p_type = PT_NULL };
	image->phdr[2] = (ElfW(Phdr)){ .p_type = PT_LOAD, .p_memsz = 2 * size, .p_flags = PF_R | PF_W };
	elf = (struct elf){ base, image->phdr, 3 };
	return 0;
}

static int drop_image(void **state)
{
	(void)state;
	return munmap(image, 2 * size);
}

/* Look for one function and bind it; true if it was found. Looking changes nothing, and nothing else is bound. */
static bool bind_wanted(int err)
{
	struct slot slot = { .name = "wanted", .function = ours };
	bool found;

	assert_int_equal(slots_find(&elf, &slot, 1), err);
	found = slot.found;
	for (int i = 0; i < 4; i++)
		assert_null(pointers[i]);
	assert_int_equal(slots_bind(&elf, &slot, 1), err);
	assert_null(pointers[1]);
	assert_null(pointers[3]);
	return found;
}

static void both_tables_are_bound_and_nothing_else(void **state)
{
	(void)state;
	assert_true(bind_wanted(0));
	assert_ptr_equal(pointers[0], ours);
	assert_ptr_equal(pointers[2], ours);
}

static void a_section_that_cannot_be_used_is_refused(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		const ElfW(Dyn) was = image->dyn[i];
		const bool needed = was.d_tag == DT_STRTAB || was.d_tag == DT_SYMTAB;

		image->dyn[i].d_tag = DT_DEBUG;
		memset(pointers, 0, size);
		assert_int_equal(bind_wanted(needed ? -ENOEXEC : 0), !needed && was.d_tag != DT_STRSZ);
		image->dyn[i] = was;
	}
	memset(pointers, 0, size);
	image->dyn[5].d_un.d_val = DT_REL;
	assert_false(bind_wanted(-ENOEXEC));
	image->dyn[5].d_un.d_val = DT_RELA;
	image->phdr[0].p_type = PT_NULL;
	assert_false(bind_wanted(-ENOEXEC));
	elf.nr_phdr = 0;
	assert_false(bind_wanted(-ENOEXEC));
}

static void a_name_beyond_the_strings_is_skipped(void **state)
{
	(void)state;
	image->symbols[1].st_name = 14;
	assert_false(bind_wanted(0));
	image->symbols[1].st_name = UINT32_MAX;
	assert_false(bind_wanted(0));
}

static bool is_writable(void *addr)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { addr, 1 };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
}

static void what_the_loader_made_read_only_is_so_again(void **state)
{
	(void)state;
	/* The loader rounds the start down, so the first pointers are read-only, too. */
	image->phdr[1] = (ElfW(Phdr)){ .p_type = PT_GNU_RELRO, .p_vaddr = size + 24, .p_memsz = size - 24 };
	assert_int_equal(mprotect(pointers, size, PROT_READ), 0);
	assert_true(bind_wanted(0));
	assert_ptr_equal(pointers[0], ours);
	assert_false(is_writable(pointers));
}

/* The loader protects whole pages only (_dl_protect_relro): data may follow on the last one. */
static void a_page_that_is_relro_in_part_stays_writable(void **state)
{
	(void)state;
	image->phdr[1] = (ElfW(Phdr)){ .p_type = PT_GNU_RELRO, .p_vaddr = size, .p_memsz = size / 2 };
	assert_true(bind_wanted(0));
	assert_ptr_equal(pointers[0], ours);
	assert_true(is_writable(pointers));
}

int main(void)
{
#define PROGRAM(way)                                                                     \
	{                                                                                \
#way, a_program_rebinds_its_own_calls, NULL, NULL, (void *)"slots-" #way \
	}
#define IMAGE(name) cmocka_unit_test_setup_teardown(name, make_image, drop_image)
	const struct CMUnitTest tests[] = {
		PROGRAM(lazy),
		PROGRAM(now),
		PROGRAM(noplt),
		PROGRAM(nopie),
		IMAGE(both_tables_are_bound_and_nothing_else),
		IMAGE(a_section_that_cannot_be_used_is_refused),
		IMAGE(a_name_beyond_the_strings_is_skipped),
		IMAGE(what_the_loader_made_read_only_is_so_again),
		IMAGE(a_page_that_is_relro_in_part_stays_writable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
