#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""as_init.py DIR PROGRAM ARGUMENT...: a program as process 1 of namespaces of its own, of processes and of mounts. DIR is its
root; it sees nothing else, so the program is a static one and lies there. What it prints goes to DIR/err.
"""

import ctypes
import os
import sys

MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
SYS_PIVOT_ROOT = {'x86_64': 155, 'aarch64': 41}

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    args = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    if getattr(libc, name)(*args):
        raise OSError(ctypes.get_errno(), f'{name}: {os.strerror(ctypes.get_errno())}')


def begin(root, program):
    call('mount', 'none', '/', None, MS_REC | MS_PRIVATE, None)
    call('mount', root, root, None, MS_BIND, None)
    for name in 'proc', 'old':
        os.makedirs(os.path.join(root, name), exist_ok=True)
    call('mount', 'proc', os.path.join(root, 'proc'), 'proc', 0, None)
    os.chdir(root)
    call('syscall', SYS_PIVOT_ROOT[os.uname().machine], '.', 'old')
    os.chdir('/')
    call('umount2', '/old', MNT_DETACH)
    os.setsid()
    for fd, flags in enumerate([os.O_RDONLY | os.O_CREAT, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_APPEND]):
        os.dup2(os.open('/err', flags, 0o600), fd)
    os.closerange(3, 100)
    os.execv(program[0], program)


if __name__ == '__main__':
    call('unshare', CLONE_NEWNS | CLONE_NEWPID)
    if not (child := os.fork()):
        begin(sys.argv[1], sys.argv[2:])
    os.waitpid(child, 0)
