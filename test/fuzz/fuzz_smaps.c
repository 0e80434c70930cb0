// SPDX-License-Identifier: GPL-2.0-only
/*
 * smaps from before the freeze and maps from after it (the input's parts before and after its first NUL), of any
 * content: CRIU gets the real file, or every line of maps with flags that smaps gave to an area of the same backing.
 */
#include "bind/smaps.c"
#include "fuzz.h"

/* proc_pid_stat(5): pid, name, 19 fields, start time, 5 fields, stack. */
static const char stat_text[] = "7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 1 2 3 4 5 4096 0";

/* Is there an area in smaps that these flags and this line of maps fit? Written the plain way, on purpose. */
static bool is_told(const struct task *task, const char *line, const char *flags)
{
	struct vma vma;
	bool told = false;

	MUST(parse_area(line, &vma));
	for (size_t i = 0; i < task->nr && !told; i++)
		told = task->v[i].flags && !strcmp(task->v[i].flags, flags) && !strcmp(task->v[i].backing, vma.backing);
	free(vma.backing);
	return told;
}

static void check_text(const struct task *task, const char *maps, FILE *text)
{
	static const char label[] = "VmFlags: ";
	char *line = NULL, *flags = NULL;
	size_t line_room = 0, flags_room = 0;

	while (*maps) {
		size_t len = strcspn(maps, "\n");

		MUST(getline(&line, &line_room, text) > 0 && getline(&flags, &flags_room, text) > 0);
		line[strcspn(line, "\n")] = flags[strcspn(flags, "\n")] = '\0';
		MUST(strlen(line) == len && !memcmp(line, maps, len));
		MUST(!strncmp(flags, label, strlen(label)));
		MUST(is_told(task, line, flags + strlen(label)));
		MUST(!has_flag(flags, "dp") && !has_flag(flags, "ss"));
		maps += len + (maps[len] == '\n');
	}
	MUST(getline(&line, &line_room, text) < 0);
	free(line);
	free(flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t cut = strnlen((const char *)data, size);
	char *maps = cut < size ? strndup((const char *)data + cut + 1, size - cut - 1) : strdup("");
	const int dir = fuzz_dir(), fds = open_fds();
	FILE *smaps;
	int fd;

	fuzz_file("stat", stat_text, strlen(stat_text));
	fuzz_file("smaps", data, cut);
	smaps = open_in(dir, "smaps");
	MUST(smaps);
	read_task(dir, smaps);
	fclose(smaps);
	if (tasks) {
		fd = smaps_open(&tasks->id, maps);
		if (fd >= 0) {
			FILE *text = fdopen(fd, "r");

			check_text(tasks, maps, text);
			fclose(text);
		}
	}
	smaps_forget();
	free(maps);
	MUST(open_fds() == fds);
	return 0;
}
