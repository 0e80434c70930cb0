// SPDX-License-Identifier: GPL-2.0-only
/*
 * A loaded executable whose program headers are sound and whose memory holds anything: no access leaves its two
 * segments, looking changes nothing, and binding writes our functions' addresses and nothing else.
 */
#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "bind/slots.h"
#include "fuzz.h"

/* Where the object lies: an address that seeds can name, below the sanitizer's shadow. Segments end within a page. */
#define BASE	  0x10000000UL
#define TEXT_SIZE 0x800UL
#define DATA	  0x20000UL
#define DATA_SIZE 0x1800UL
#define ROOM	  0x10000UL /* a whole page of any size */

#define WORDS (DATA_SIZE / sizeof(void *))

static uint8_t *const text = (uint8_t *)BASE, *const data = (uint8_t *)(BASE + DATA);

static void first(void)
{
}

static void second(void)
{
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	(void)argc;
	(void)argv;
	MUST(mmap(text, ROOM, PROT_READ | PROT_WRITE, flags, -1, 0) == text);
	MUST(mmap(data, ROOM, PROT_READ | PROT_WRITE, flags, -1, 0) == data);
	ASAN_POISON_MEMORY_REGION(text + TEXT_SIZE, ROOM - TEXT_SIZE);
	ASAN_POISON_MEMORY_REGION(data + DATA_SIZE, ROOM - DATA_SIZE);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static uint8_t text_was[TEXT_SIZE], data_was[DATA_SIZE];
	struct input input = { bytes, size };
	struct {
		uint32_t dynamic, relro, relro_size, text_size;
	} head = { 0 };
	struct slot slots[] = {
		{ .name = "wanted", .alias = "wanted64", .function = first },
		{ .name = "other", .function = second },
	};
	void **words = (void **)data, **words_were = (void **)data_was;
	int err;

	take(&input, &head, sizeof(head));
	const ElfW(Phdr) phdr[] = {
		{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_memsz = TEXT_SIZE },
		{ .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = DATA, .p_memsz = DATA_SIZE },
		{ .p_type = PT_DYNAMIC, .p_vaddr = head.dynamic },
		{ .p_type = PT_GNU_RELRO, .p_vaddr = head.relro, .p_memsz = head.relro_size },
	};
	const struct elf elf = { BASE, phdr, sizeof(phdr) / sizeof(*phdr) };

	MUST(!mprotect(data, ROOM, PROT_READ | PROT_WRITE));
	memset(text, 0, TEXT_SIZE);
	memset(data, 0, DATA_SIZE);
	take(&input, text, head.text_size < TEXT_SIZE ? head.text_size : TEXT_SIZE);
	take(&input, data, DATA_SIZE);
	memcpy(text_was, text, TEXT_SIZE);
	memcpy(data_was, data, DATA_SIZE);

	err = slots_find(&elf, slots, 2);
	MUST(!err || err == -ENOEXEC);
	MUST(!memcmp(text, text_was, TEXT_SIZE) && !memcmp(data, data_was, DATA_SIZE));

	err = slots_bind(&elf, slots, 2);
	MUST(!err || err == -ENOEXEC);
	MUST(!memcmp(text, text_was, TEXT_SIZE));
	for (size_t i = 0; i < WORDS; i++)
		MUST(words[i] == words_were[i] || words[i] == first || words[i] == second);
	return 0;
}
