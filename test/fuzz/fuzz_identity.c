// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task names itself as it likes, and the name stands in the middle of its stat: no name changes what is read around
 * it. An input that is too long for a name is the whole file.
 */
#include "fuzz.h"
#include "track/identity.h"

#define NAME_MAX_LEN 15 /* TASK_COMM_LEN less its end */

/* proc_pid_stat(5): 19 fields, start time, 5 fields, stack, and what follows. */
static const char head[] = "7 (", tail[] = ") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 1 2 3 4 5 4096 0 0";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct identity wanted = { .pid = 7, .start_time = 99, .stack = 4096 };
	char text[sizeof(head) + NAME_MAX_LEN + sizeof(tail)];
	const int dir = fuzz_dir(), fds = open_fds();
	struct identity id;
	int len;

	if (size > NAME_MAX_LEN) {
		fuzz_file("stat", data, size);
		identity_read(dir, &id);
	} else {
		len = snprintf(text, sizeof(text), "%s%.*s%s", head, (int)size, (const char *)data, tail);
		fuzz_file("stat", text, (size_t)len);
		MUST(!identity_read(dir, &id) && identity_equal(&id, &wanted));
	}
	MUST(open_fds() == fds);
	return 0;
}
