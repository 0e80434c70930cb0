// SPDX-License-Identifier: GPL-2.0-only
/*
 * confine.c - the keeper's confinement. Calls libcap-ng, libseccomp.
 */
#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "confine.h"

/* What serving takes: sockets, epoll, the list of tasks in memory, removing the socket, and ending. */
static const int allowed[] = {
	SCMP_SYS(accept4),	SCMP_SYS(brk),	      SCMP_SYS(clock_gettime), SCMP_SYS(close),
	SCMP_SYS(epoll_ctl),	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),   SCMP_SYS(exit),
	SCMP_SYS(exit_group),	SCMP_SYS(getsockopt), SCMP_SYS(madvise),       SCMP_SYS(mmap),
	SCMP_SYS(mremap),	SCMP_SYS(munmap),     SCMP_SYS(recvmsg),       SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sendmsg),    SCMP_SYS(unlinkat),      SCMP_SYS(write),
};

int confine(struct reason *why)
{
	scmp_filter_ctx filter;
	bool privileged;
	int err = 0;

	/* The bounding set takes CAP_SETPCAP to drop; without it, and under no_new_privs, it gives nobody anything. */
	privileged = !capng_get_caps_process() && capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(privileged ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS))
		return reason_set(why, -EPERM, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return reason_set(why, -errno, "no_new_privs: %s", strerror(errno));

	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return reason_set(why, -ENOMEM, "cannot make a seccomp filter");
	for (size_t i = 0; !err && i < sizeof(allowed) / sizeof(*allowed); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err ? reason_set(why, err, "cannot load the seccomp filter: %s", strerror(-err)) : 0;
}
