# SPDX-License-Identifier: GPL-2.0-only
"""criu of a user who is not root (--unprivileged): its rounds are incremental if live ones have begun the tracking, else
full ones that say why."""

import ctypes
import os
import struct

from kit import PAGESCAN, Skip, case, check

USER, HOME = 1000, '/run/user'
# criu wants the first; its restore the second, on machines whose root lacks some capability. See capabilities(7).
CHECKPOINT_RESTORE, SETPCAP = 40, 8
SET_KEEPCAPS, CAP_AMBIENT, RAISE = 8, 47, 2  # prctl(2)
SYS_CAPSET = {'x86_64': 126, 'aarch64': 91}[os.uname().machine]

libc = ctypes.CDLL(None, use_errno=True)


def become_user(t):
    """From now on all that the case runs is that user's. The victim has no capability at all."""
    os.mkdir(HOME, 0o700)
    for path in (HOME, t.dir):
        os.chown(path, USER, USER)
    t.environment['XDG_RUNTIME_DIR'] = HOME
    check(not libc.prctl(SET_KEEPCAPS, 1, 0, 0, 0), 'prctl')
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    if not os.access(PAGESCAN, os.X_OK):
        raise Skip('this tree is closed to other users')
    t.start_victim()
    words = [0, 0]
    for capability in (CHECKPOINT_RESTORE, SETPCAP):
        words[capability // 32] |= 1 << capability % 32
    version_3 = struct.pack('=Ii', 0x20080522, 0)
    if libc.syscall(SYS_CAPSET, version_3, struct.pack('=6I', *[words[0]] * 3, *[words[1]] * 3)):
        raise Skip('this machine lacks CAP_CHECKPOINT_RESTORE')
    for capability in (CHECKPOINT_RESTORE, SETPCAP):
        check(not libc.prctl(CAP_AMBIENT, RAISE, capability, 0, 0), 'prctl')


def restore(t, images):
    t.criu('restore', images, None, '-d', '--unprivileged', plain=True)
    t.victim.verdict()


@case
def unprivileged_rounds(t):
    become_user(t)
    t.live('1')
    t.victim.touch()
    check(t.live('2', '1').clean(), 'no page was left to the parent')
    t.victim.touch()
    t.pre_dump('3', '2', '--unprivileged').incremental()
    t.victim.touch()
    t.dump('4', '3', '--unprivileged').incremental()
    restore(t, '4')


@case
def unprivileged_rounds_of_criu_alone(t):
    """criu's library makes no system call in a task without CAP_SYS_ADMIN, so nothing is tracked; but no round fails."""
    why = 'cannot be tracked, its memory is dumped in full: cannot run a system call in the task'
    become_user(t)
    t.pre_dump('1', None, '--unprivileged').full(why)
    t.victim.touch()
    t.pre_dump('2', '1', '--unprivileged').full(why)
    t.victim.touch()
    t.dump('3', '2', '--unprivileged').full(why)
    restore(t, '3')
