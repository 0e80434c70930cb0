// SPDX-License-Identifier: GPL-2.0-only
/*
 * verify.c - see that what CRIU is told to be clean is in the parent images. Calls audit, CRIU's log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "scan/uapi.h"
#include "verify.h"

static bool is_wanted(void)
{
	const char *value = getenv("PAGESCAN_VERIFY");

	return value && *value && !(value[0] == '0' && !value[1]);
}

void verify_begin(struct round_task *task, int proc_dir, int dir)
{
	struct reason why;

	/* Without a parent to trust nothing is called clean. */
	if (!task->visible || !task->tracker.trusted || !is_wanted())
		return;
	task->verify = true;
	if (audit_open(&task->audit, proc_dir, dir, CRIU_PARENT_LINK, &why))
		pr_err("%d: the parent images cannot be verified: %s\n", task->tracker.id.pid, why.text);
}

static int verdict(const struct round_task *task, int err, const struct reason *why)
{
	if (err == -EBADMSG)
		pr_err("BUG: %d: a page was called clean, but %s\n", task->tracker.id.pid, why->text);
	else if (err)
		pr_err("%d: a page cannot be verified: %s\n", task->tracker.id.pid, why->text);
	return err ? -EIO : 0;
}

int verify_answer(struct round_task *task, const struct pagescan_region *vec, size_t nr)
{
	struct reason why;

	if (!task->verify)
		return 0;
	if (task->audit.mem_fd < 0)
		return -EIO; /* told already */
	return verdict(task, audit_answer(&task->audit, vec, nr, &why), &why);
}

/* Does CRIU look for this page in the parent? As it decides over an entry (criu/mem.c, should_dump_page). */
static bool is_clean(uint64_t pme, uint64_t zero_frame)
{
	const uint64_t frame = pme & PME_FRAME_MASK;

	if ((pme & (PME_SOFT_DIRTY | PME_FILE)) || !(pme & (PME_PRESENT | PME_SWAP)))
		return false;
	return !(pme & PME_PRESENT) || !frame || frame != zero_frame;
}

int verify_entries(struct round_task *task, uint64_t first, const uint64_t *pme, size_t nr)
{
	const uint64_t page = pagescan_page_size();
	uint64_t zero_frame;
	struct reason why;
	int err;

	if (!task->verify)
		return 0;
	if (task->audit.mem_fd < 0)
		return -EIO;
	err = pagescan_zero_frame(&zero_frame);
	if (err)
		reason_set(&why, err, "the frame of the zero page is not to be found: %s", strerror(-err));
	for (size_t i = 0, run; !err && i < nr; i += run) {
		for (run = 0; i + run < nr && is_clean(pme[i + run], zero_frame); run++)
			;
		err = audit_range(&task->audit, (first + i) * page, (first + i + run) * page, &why);
		run += !run;
	}
	return verdict(task, err, &why);
}

void verify_end(struct round_task *task)
{
	if (!task->verify || task->audit.mem_fd < 0)
		return;
	pr_info("%d: %llu clean pages were verified, %llu differ, %llu are missing\n", task->tracker.id.pid,
		(unsigned long long)task->audit.compared, (unsigned long long)task->audit.different,
		(unsigned long long)task->audit.missing);
	audit_close(&task->audit);
}
