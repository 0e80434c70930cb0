/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * service.h - criu as a container runtime runs it: `criu swrk FD`, which serves one request that comes by a socket.
 */
#ifndef PAGESCAN_BIND_SERVICE_H
#define PAGESCAN_BIND_SERVICE_H

#include <stdbool.h>

/*
 * Does this criu, run with these arguments, restore? A service waits here until it is told what to do, and leaves the
 * request for criu. One that makes no sense is none.
 */
bool service_restores(int argc, char **argv);

#endif
