// SPDX-License-Identifier: GPL-2.0-only
/*
 * refuse.c - run a command on a kernel that lacks something: `refuse scan|uffd COMMAND...`. For it and its children the
 * PAGEMAP_SCAN ioctl fails with ENOTTY, or userfaultfd with ENOSYS, as on kernels before 6.7.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGEMAP_SCAN 0xc0606610

int main(int argc, char **argv)
{
	const struct scmp_arg_cmp is_scan = { 1, SCMP_CMP_MASKED_EQ, UINT32_MAX, PAGEMAP_SCAN };
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int err;

	if (argc < 3 || !filter)
		return 125;
	/* no_new_privs would be one more difference to a plain run. */
	err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	if (!err && !strcmp(argv[1], "scan"))
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1, is_scan);
	else if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(userfaultfd), 0);
	if (!err)
		err = seccomp_load(filter);
	if (err) {
		fprintf(stderr, "refuse: %s\n", strerror(-err));
		return 125;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 125;
}
