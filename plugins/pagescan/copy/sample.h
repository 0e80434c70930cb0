/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sample.h - how much a running tree writes: rounds that copy nothing.
 */
#ifndef PAGESCAN_COPY_SAMPLE_H
#define PAGESCAN_COPY_SAMPLE_H

#include <stdbool.h>

#include "track/arm.h"
#include "written.h"

/*
 * Between two samples. @begun: there was one. @armed: what it began to track, which sample_end() lets go of; owns all.
 * Initialise with zeros. @helper: there is one during a sample only.
 */
struct sample {
	bool begun;
	struct epoch_image last;
	struct epoch_image armed;
	struct helper helper;
};

/*
 * Is any task of the tree tracked, as in a chain of rounds? A sample would make their next round a full one. Returns 1,
 * 0 or a negative errno: it cannot be told.
 */
int sample_disturbs(int pid);

/*
 * Take a sample of the tree of @pid: what was written since the one before (all that is there in the first, and in areas
 * and tasks that are new) goes into @written, what was not is clean. What cannot be sampled is untracked. Returns 0 or a
 * negative errno with @why.
 */
int sample_take(struct sample *sample, int pid, struct written *written, struct reason *why);

/* Stop tracking what the samples began to track. */
void sample_end(struct sample *sample);

#endif
