// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmflags.c - learn which bit has which letters in smaps, by exclusion. Calls libc.
 *
 * A bit's letters are in VmFlags exactly if the bit is set. So of all letters those are left for a bit that were there in
 * each area that had it, and in none that had it not. Where more than one is left they have always been there together
 * (mr and me), and are told together.
 */
#include <stddef.h>
#include <string.h>

#include "vmflags.h"

/*
 * What CRIU asks for (criu/proc_parse.c, __parse_vmflags). Two of these must never be taken for each other; but I/O and
 * raw frames are one thing to it, and no area of a process of ours has one of them alone.
 */
static const char asked[][3] = { "gd", "lo", "nr", "ht", "dp", "sr", "rr", "dc",
				 "dd", "mg", "hg", "nh", "wf", "io", "pf", "ss" };
static const char alike[][3] = { "io", "pf" };

static bool is_among(const char name[2], const char (*names)[3], size_t nr)
{
	while (nr && memcmp(names[nr - 1], name, 2))
		nr--;
	return nr;
}

/* The bit of a name in the masks of names, 0 if there is no room for it. */
static uint64_t mask_of(struct vmflags *flags, const char name[2])
{
	unsigned int i = 0;

	while (i < flags->nr && memcmp(flags->names[i], name, 2))
		i++;
	if (i == VMFLAGS_MAX)
		return 0;
	if (i == flags->nr)
		memcpy(flags->names[flags->nr++], name, 2);
	return 1ULL << i;
}

void vmflags_learn(struct vmflags *flags, uint64_t bits, const char *letters)
{
	uint64_t there = 0;

	for (letters += strspn(letters, " "); strcspn(letters, " \n") == 2; letters += strspn(letters, " ")) {
		there |= mask_of(flags, letters);
		letters += 2;
	}
	for (unsigned int bit = 0; bit < VMFLAGS_MAX; bit++) {
		if (!(bits & 1ULL << bit))
			flags->without[bit] |= there;
		else
			flags->with[bit] = flags->seen & 1ULL << bit ? flags->with[bit] & there : there;
	}
	flags->seen |= bits;
}

/* Are these names one to CRIU? */
static bool is_clear(const struct vmflags *flags, uint64_t names)
{
	bool asked_for = false, all_alike = true;

	for (unsigned int i = 0; i < flags->nr; i++) {
		if (!(names & 1ULL << i))
			continue;
		asked_for |= is_among(flags->names[i], asked, sizeof(asked) / sizeof(*asked));
		all_alike &= is_among(flags->names[i], alike, sizeof(alike) / sizeof(*alike));
	}
	return names && (!asked_for || !(names & (names - 1)) || all_alike);
}

bool vmflags_tell(const struct vmflags *flags, uint64_t bits, char text[VMFLAGS_TEXT])
{
	uint64_t names = 0;

	for (unsigned int bit = 0; bit < VMFLAGS_MAX; bit++) {
		const uint64_t its = flags->with[bit] & ~flags->without[bit];

		if (!(bits & 1ULL << bit))
			continue;
		if (!is_clear(flags, its))
			return false;
		names |= its;
	}
	for (unsigned int i = 0; i < flags->nr; i++) {
		if (names & 1ULL << i) {
			memcpy(text, flags->names[i], 2);
			text[2] = ' ';
			text += 3;
		}
	}
	*text = '\0';
	return true;
}
