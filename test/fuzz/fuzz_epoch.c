// SPDX-License-Identifier: GPL-2.0-only
/* pagescan.img of any content: it is refused with a reason, or its records survive being written and read again. */
#include "fuzz.h"
#include "track/epoch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct epoch_image image, again;
	struct reason why = { "" };

	if (epoch_image_parse(data, size, &image, &why)) {
		MUST(!image.nr && !image.v && why.text[0]);
		return 0;
	}
	MUST(!epoch_image_write(fuzz_dir(), &image, &why));
	MUST(!epoch_image_read(fuzz_dir(), EPOCH_IMAGE, &again, &why));
	MUST(again.nr == image.nr);
	for (size_t i = 0; i < image.nr; i++) {
		MUST(image.v[i].pid >= 0 && image.v[i].pid == again.v[i].pid);
		MUST(image.v[i].start_time == again.v[i].start_time);
		MUST(!memcmp(&image.v[i].epoch, &again.v[i].epoch, sizeof(again.v[i].epoch)));
	}
	epoch_image_fini(&image);
	epoch_image_fini(&again);
	return 0;
}
