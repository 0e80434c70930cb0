// SPDX-License-Identifier: GPL-2.0-only
/*
 * A maps file of any content: it is refused whole, or its areas ascend, are not empty and are found again. Each line
 * says the same when it stands alone, where the sanitizer sees its end.
 */
#include "fuzz.h"
#include "scan/areas.h"

static int add_lines(struct areas *areas, const char *text)
{
	int err = 0;

	while (!err && *text) {
		const size_t len = strcspn(text, "\n");
		char *line = strndup(text, len);

		err = areas_add_line(areas, line);
		free(line);
		text += len + (text[len] == '\n');
	}
	return err;
}

static bool same_area(const struct area *a, const struct area *b)
{
	return a->start == b->start && a->end == b->end && a->file == b->file && a->vdso == b->vdso &&
	       a->trackable == b->trackable;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct areas areas, alone = { 0 };
	char *text = strndup((const char *)data, size);
	int err = add_lines(&alone, text);

	fuzz_file("maps", data, size);
	if (areas_read(fuzz_dir(), &areas)) {
		MUST(!areas.nr && !areas.v && !areas.text);
		MUST(err || !alone.nr);
		areas_fini(&alone);
		free(text);
		return 0;
	}
	MUST(!err && areas.nr && areas.nr == alone.nr);
	MUST(!strcmp(areas.text, text)); /* the lines were put together again */
	for (size_t i = 0; i < areas.nr; i++) {
		const struct area *area = &areas.v[i];
		const size_t run = areas_run(&areas, i);

		MUST(area->start < area->end);
		MUST(same_area(area, &alone.v[i]));
		MUST(!i || areas.v[i - 1].end <= area->start);
		MUST(!(area->trackable && area->vdso));
		MUST(run && run <= areas.nr - i);
		MUST(areas_find(&areas, area->start) == i && areas_find(&areas, area->end - 1) == i);
	}
	areas_fini(&areas);
	areas_fini(&alone);
	free(text);
	return 0;
}
