// SPDX-License-Identifier: GPL-2.0-only
/* The keeper's two walls: it can do no more than it has to, and it answers nobody but its user. Needs root to see. */
#include "keeping.h"

/* The line of status that begins so, from behind the colon; "" if there is none. */
static void read_status(pid_t pid, const char *name, char value[64])
{
	int dir = open_proc(pid);
	FILE *status = fdopen(openat(dir, "status", O_RDONLY), "r");
	char line[256];

	assert_non_null(status);
	value[0] = '\0';
	while (fgets(line, sizeof(line), status)) {
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %63s", value);
	}
	fclose(status);
	close(dir);
}

static void it_gives_up_what_it_does_not_use(void **state)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	pid_t keeper = start_keeper(0);
	char value[64];

	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		read_status(keeper, sets[i], value);
		if (strcmp(value, "0000000000000000") != 0 && (i != 3 || !geteuid()))
			fail_msg("%s is %s", sets[i], value);
	}
	read_status(keeper, "NoNewPrivs", value);
	assert_string_equal(value, "1");
	read_status(keeper, "Seccomp", value);
	assert_string_equal(value, "2");
	end_child(keeper);
}
