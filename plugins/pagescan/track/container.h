/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * container.h - which container a process is in. The kernel knows none: it is told by the names that runtimes give to
 * control groups, and by pid namespaces.
 */
#ifndef PAGESCAN_TRACK_CONTAINER_H
#define PAGESCAN_TRACK_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

/* A control group's name has up to 255 bytes (NAME_MAX), which may be any but '/' and newline. */
#define CONTAINER_NAME 256

/* The digits of a container's id, and how many of them are shown to people, as runtimes do. */
#define CONTAINER_ID	   64
#define CONTAINER_ID_SHOWN 12

/*
 * Put the container's id or name into @name, a string of up to CONTAINER_NAME bytes; empty if there is none.
 *
 * @groups: what /proc/PID/cgroup says (cgroups(7)), of v1, v2 or both. @ours: the same of the process that looks, if the
 * other one has pids of its own, else NULL. It is in a container if a group's name has an id of 64 hexadecimal digits
 * (docker, podman, CRI-O, containerd), if it is a scope by runc or crun, or else if it has pids of its own: then the last
 * name of a group that is not ours is taken, which is what runc and crun make of a container's name without systemd. Pure.
 */
void container_name(const char *groups, const char *ours, char name[CONTAINER_NAME]);

/*
 * The same for the process behind @proc_dir (an open /proc/PID; stays the caller's). Returns 0 or a negative errno, and
 * then @name is empty.
 */
int container_of(int proc_dir, char name[CONTAINER_NAME]);

/* How much of @name people need. */
int container_shown(const char *name);

#endif
