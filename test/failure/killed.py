# SPDX-License-Identifier: GPL-2.0-only
"""criu is killed, or one of its calls fails, at an exact point of a round; or the keeper is killed meanwhile.

What plain criu leaves when it is killed (measured at each of its ptrace calls): the process runs on untraced, at times
with mappings and a descriptor of its parasite; amid a system call that criu runs in it, it dies of SIGTRAP. With the
plugin there is to be nothing else, and the next rounds go on from the last images that are complete.
"""

import errno
import os
import signal
import time

from chains import OLDER, begin, end
from kit import Skip, case, check, reap, variants, wait

# Points of a round after which the tracker is where the last images left it: before it moves on, and that it does ...
BEFORE = {
    'frozen': 'openat|smaps|1',
    'asking_the_keeper': 'sendmsg|/keeper 1|1',
    'looking_for_areas': 'ioctl|register|10',
    'infecting': 'write|Putting parasite blob|1',
    'reading_pagemap': 'ioctl|read|20',
    'draining': 'write|Dumping pages|1',
    'opening_clear_refs': 'openat|clear_refs|1',
    'telling_the_keeper': 'sendmsg|/keeper 2|1',
}
# ... in the middle of these.
AFTER = {
    'protecting_first': 'ioctl|protect|1',
    'protecting_later': 'ioctl|protect|4',
    'reset_done': 'write|pagescan: |1',
    'running_again': 'write|Pre-dumping tasks|1',
    'writing_pages': 'splice|splice|1',
    'writing_more_pages': 'splice|splice|4',
    'opening_stats': 'openat|stats-dump|1',
    'writing_the_record': 'openat|pagescan.img.tmp|1',
    'naming_the_record': 'renameat|pagescan.img|1',
}
IN_READ_MODE = {
    'running_again': 'write|Pre-dumping tasks|1',
    'writing_pages': 'splice|splice|1',
}


def mappings(t):
    with open(f'/proc/{t.victim.pid}/maps') as maps:
        return {line.split()[0] for line in maps if 'CRIUMFD' not in line}


def descriptors(t):
    names = (os.readlink(f'/proc/{t.victim.pid}/fd/{fd}') for fd in os.listdir(f'/proc/{t.victim.pid}/fd'))
    return {name for name in names if 'CRIUMFD' not in name}


def kill_round(t, strike, *args, action='pre-dump'):
    """A round that is killed at the point; what it leaves in the process."""
    before = mappings(t), descriptors(t)
    t.start_criu(action, *args, strike=f'{strike}|stop').wait_stopped().kill()
    t.victim.unharmed()
    check(before == (mappings(t), descriptors(t)), f'left behind: {mappings(t) - before[0]} '
          f'{descriptors(t) - before[1]}')


@variants(**{name: point for name, point in (BEFORE | AFTER).items() if name != 'asking_the_keeper'})
def killed_in_first_round(t, strike):
    t.start_victim()
    t.criu('check', '0', code=None)  # fills the cache of features, so that the points are those of the round
    kill_round(t, strike, '1')
    t.victim.touch()
    t.pre_dump('2').full().silent()
    end(t, '2')


@variants(**BEFORE)
def killed_before_reset(t, strike):
    begin(t)
    kill_round(t, strike, '2', '1')
    t.dump('3', '1').incremental()
    t.restore('3')


@variants(**AFTER)
def killed_after_reset(t, strike):
    begin(t)
    kill_round(t, strike, '2', '1')
    t.pre_dump('3', '1').full(OLDER)
    end(t, '3')


@case
def killed_after_commit(t):
    """The images are complete by then, and the next round may build on them."""
    begin(t)
    kill_round(t, 'write|Pre-dumping finished|1', '2', '1')
    t.dump('3', '2').incremental()
    t.restore('3')


@variants(**IN_READ_MODE)
def killed_in_read_mode(t, strike):
    t.start_victim()
    t.pre_dump('1', None, '--pre-dump-mode', 'read')
    t.victim.touch()
    kill_round(t, strike, '2', '1', '--pre-dump-mode', 'read')
    t.pre_dump('3', '1', '--pre-dump-mode', 'read').full('the tracker is at 2')
    end(t, '3')


@variants(writing_pages=('splice|splice|1', True), reset_done=('write|pagescan: |1', False),
          dumping_core=('write|Dumping core|1', False), opening_stats=('openat|stats-dump|1', False))
def killed_dump(t, point):
    """A dump writes its pages before it resets tracking."""
    strike, before_reset = point
    begin(t)
    kill_round(t, strike, '2', '1', '--track-mem', '--leave-running', action='dump')
    last = t.dump('3', '1')
    if before_reset:
        last.incremental()
    else:
        last.full('the tracker is at 2')
    t.restore('3')


def died_of_injection(victim):
    wait(lambda: victim.proc('TracerPid') in ('0', ''), 'end of tracing')
    # It writes all the time, but not in injected code.
    written = [writes for *_, writes in victim.records()]
    wait(lambda: not victim.alive() or [writes for *_, writes in victim.records()] != written, 'the victim to go on')
    if victim.alive():
        return False
    # Plain criu, killed at any time in a dump, leaves the same two: a trap in the code that it injected, and a parasite
    # that writes to a socket whose other end is gone.
    how = reap(victim.pid, 'the dead victim')
    check(how in (signal.SIGTRAP, signal.SIGPIPE), f'the victim died of signal {how}')
    return True


@variants(**{f'{number:03}': number for number in range(4, 114, 11)})
def killed_at_ptrace(t, number):
    """A first round in which criu is killed at its N-th ptrace call."""
    t.start_victim()
    t.criu('check', '0', code=None)
    run = t.start_criu('pre-dump', '1', strike=f'ptrace|.|{number}|stop')
    if not run.stops():
        raise Skip(f'this criu makes fewer than {number} ptrace calls')
    run.kill()
    if died_of_injection(t.victim):
        return
    t.victim.unharmed()
    t.pre_dump('2').full()
    end(t, '2')


@case
def killed_while_it_overwrites_the_parent(t):
    """A dump into the directory of the last good round writes over its pages before it resets tracking. The process is
    still where that directory left it, but the images are not."""
    begin(t)
    kill_round(t, 'splice|splice|3', '1', None, '--track-mem', '--leave-running', action='dump')
    second = t.pre_dump('2', '1', code=None).said('the parent images have no pagescan.img')
    if second.code:  # criu stumbles over what is left of the parent
        t.victim.unharmed()
    t.pre_dump('3')
    end(t, '3')


@case
def killed_with_a_descriptor_in_the_process(t):
    """Between making the userfaultfd in the process and closing it there; whoever dumps it next must not stumble."""
    t.start_victim()
    t.criu('check', '0', code=None)
    t.start_criu('pre-dump', '1', strike='syscall|438.|1|stop').wait_stopped().kill()
    t.victim.unharmed()
    t.pre_dump('2').full()
    end(t, '2')


@variants(splice='splice', read='read')
def killed_at_any_time(t, mode):
    """Every round is killed a moment later than the last; after each comes one that goes on."""
    victim, good = t.start_victim(), '0'
    started = time.monotonic()
    t.pre_dump(good, None, '--pre-dump-mode', mode)
    duration = time.monotonic() - started
    for number in range(1, 13):
        victim.touch()
        run = t.start_criu('pre-dump', f'killed-{number}', good, '--pre-dump-mode', mode)
        time.sleep(duration * number / 12)
        run.kill()
        if died_of_injection(victim):
            good, victim = None, t.start_victim(name=f'victim-{number}')
        victim.unharmed()
        t.pre_dump(str(number), good, '--pre-dump-mode', mode)
        good = str(number)
    victim.touch()
    t.dump('last', good).incremental()
    t.restore('last')


@variants(frozen='openat|smaps|1', resetting='ioctl|protect|2', running_again='splice|splice|1')
def process_dies(t, strike):
    """The victim is killed in the midst of a round: criu ends, and the keeper forgets."""
    begin(t)
    run = t.start_criu('pre-dump', '2', '1', strike=f'{strike}|stop').wait_stopped()
    os.kill(t.victim.pid, signal.SIGKILL)
    time.sleep(0.05)
    run.go_on()
    reap(t.victim.pid, 'end of the killed victim')
    check(0 <= run.code, f'criu died of signal {-run.code}')
    wait(lambda: t.pagescan('status', '--json').expect(0).out == '[]\n', 'forgetting of the dead')
    wait(lambda: not t.keepers(), 'end of the keeper')


FAILING = {
    # name: (call and errno, what the log says, whether the next round may be incremental)
    'protect': (f'ioctl|protect|2|{errno.ENOMEM}', 'the next round will be a full one: cannot protect the area', False),
    'getfd': (f'syscall|438.|1|{errno.EPERM}', 'cannot be tracked, its memory is dumped in full: pidfd_getfd', False),
    'pidfd_open': (f'syscall|434.|1|{errno.EMFILE}', 'cannot be tracked, its memory is dumped in full', False),
    'pagemap': (f'openat|pagemap|2|{errno.EACCES}', "cannot be tracked, its memory is dumped in full: cannot read the "
                "task's areas", False),
    'put': (f'sendmsg|/keeper 2|1|{errno.EACCES}', 'the next round will be a full one', False),
    'register': (f'ioctl|register|4|{errno.ENOMEM}', '1 refused', True),
    'record': (f'openat|pagescan.img.tmp|1|{errno.ENOSPC}', 'cannot write pagescan.img: No space left', False),
    'rename': (f'renameat|pagescan.img|1|{errno.ENOSPC}', 'cannot write pagescan.img: No space left', False),
    'read': (f'ioctl|read|8|{errno.ENOMEM}', 'no answer from the snapshot', True),
}


@variants(**FAILING)
def failing_call(t, what):
    """One call of the plugin's fails in the first round: the round is criu's own, and at worst the next is full."""
    strike, reason, incremental = what
    t.start_victim()
    t.criu('check', '0', code=None)
    t.pre_dump('1', strike=strike).full(reason)
    check(not os.path.exists(t.path('1', 'pagescan.img')) or incremental, 'there is a record')
    t.victim.touch()
    second = t.pre_dump('2', '1')
    if incremental:
        second.incremental()
    else:
        second.full('the parent images have no pagescan.img')
    end(t, '2')


FAILING_LATER = {
    # name: (call and errno, what the log says, whether this round and the next one may be incremental)
    'get': (f'sendmsg|/keeper 1|1|{errno.EACCES}', 'the tracking that the parent images began is lost', False, True),
    'put': (f'sendmsg|/keeper 2|1|{errno.EACCES}', 'the next round will be a full one', True, False),
    'put_to_a_lost_one': (f'sendmsg|/keeper 2|1|{errno.EPIPE}', 'epoch 2', True, True),
    'protect': (f'ioctl|protect|2|{errno.ENOMEM}', 'the next round will be a full one: cannot protect', True, False),
    'looking_for_areas': (f'ioctl|register|2|{errno.ENOMEM}', 'epoch 2', True, True),
    'record': (f'openat|pagescan.img.tmp|1|{errno.ENOSPC}', 'cannot write pagescan.img', True, False),
    'parents_record': (f'openat|parent/pagescan.img|1|{errno.EIO}', 'cannot read parent/pagescan.img', False, True),
}


@variants(**FAILING_LATER)
def failing_call_later(t, what):
    """The same in a round that has a parent."""
    strike, reason, now, then = what
    begin(t)
    second = t.pre_dump('2', '1', strike=strike).said(reason)
    check(bool(second.clean()) == now, f'{second.clean()} pages were left to the parent')
    t.victim.touch()
    third = t.pre_dump('3', '2')
    check(bool(third.clean()) == then, f'{third.clean()} pages were left to the parent afterwards')
    end(t, '3')
