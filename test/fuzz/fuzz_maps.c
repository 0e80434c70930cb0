// SPDX-License-Identifier: GPL-2.0-only
/* A maps file of any content: it is refused whole, or its areas ascend, are not empty and are found again. */
#include "fuzz.h"
#include "scan/areas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct areas areas;
	size_t lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	fuzz_file("maps", data, size);
	if (areas_read(fuzz_dir(), &areas)) {
		MUST(!areas.nr && !areas.v && !areas.text);
		return 0;
	}
	MUST(areas.nr && areas.nr <= lines && areas.nr <= areas.room);
	MUST(!memcmp(areas.text, data, strlen(areas.text))); /* the lines were put together again */
	for (size_t i = 0; i < areas.nr; i++) {
		const struct area *area = &areas.v[i];
		const size_t run = areas_run(&areas, i);

		MUST(area->start < area->end);
		MUST(!i || areas.v[i - 1].end <= area->start);
		MUST(!(area->trackable && area->vdso));
		MUST(run && run <= areas.nr - i);
		MUST(areas_find(&areas, area->start) == i && areas_find(&areas, area->end - 1) == i);
	}
	areas_fini(&areas);
	return 0;
}
