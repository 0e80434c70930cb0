# SPDX-License-Identifier: GPL-2.0-only
"""Rounds that fail by themselves: no space, a directory that cannot be written, a script that fails, a task that cannot
be taken. The exit status is what plain criu's is, and the next round goes on from the last good images."""

import errno
import os
import resource
import signal
import subprocess
import sys

from chains import OLDER, begin, end
from kit import CRIU, TIMEOUT, case, check, variants


def mount(t, name, options):
    os.makedirs(t.path(name), exist_ok=True)
    t.run('mount', '-t', 'tmpfs', '-o', options, 'none', t.path(name)).expect(0)


@variants(splice='splice', read='read')
def no_space_for_a_pre_dump(t, mode):
    """It writes its pages after the reset."""
    begin(t)
    mount(t, 'small', 'size=64k')
    t.pre_dump('small/2', '../1', '--pre-dump-mode', mode, code=1)
    t.victim.unharmed()
    t.pre_dump('3', '1').full(OLDER)
    end(t, '3')


@case
def no_space_and_the_same_directory_again(t):
    begin(t)
    mount(t, 'small', 'size=64k')
    t.pre_dump('small/2', '../1', code=1)
    t.victim.unharmed()
    t.run('mount', '-o', 'remount,size=64m', t.path('small')).expect(0)
    t.pre_dump('small/2', '../1').full(OLDER)
    t.victim.touch()
    t.pre_dump('3', 'small/2').incremental()
    end(t, '3')


@case
def no_space_for_the_first_round(t):
    t.start_victim()
    mount(t, 'small', 'size=1m')
    t.pre_dump('small/1', code=1)
    t.victim.unharmed()
    t.pre_dump('2').full().silent()
    end(t, '2')


@case
def no_space_for_a_dump(t):
    """It writes its pages before the reset."""
    begin(t)
    mount(t, 'small', 'size=64k')
    plain = t.criu('dump', 'small/plain', None, plain=True, code=None)
    t.victim.unharmed()
    t.criu('dump', 'small/2', '../1', '--track-mem', code=plain.code)
    t.victim.unharmed()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


@variants(pre_dump='pre-dump', dump='dump')
def unwritable_directory(t, action):
    begin(t)
    mount(t, 'frozen', 'size=1m')
    os.mkdir(t.path('frozen/2'))
    os.mkdir(t.path('frozen/plain'))
    t.run('mount', '-o', 'remount,ro', t.path('frozen')).expect(0)
    plain = t.criu('dump', 'frozen/plain', None, plain=True, code=None)
    check(plain.code, 'plain criu can write there')
    t.victim.unharmed()
    t.criu(action, 'frozen/2', None, '--track-mem', code=plain.code)
    t.victim.unharmed()
    third = t.pre_dump('3', '1')
    if action == 'dump':
        third.incremental()
    end(t, '3')


@case
def no_such_directory(t):
    begin(t)
    command = ['dump', '-t', str(t.victim.pid), '-D', t.path('nowhere'), '--leave-running']
    plain = t.run(CRIU, *command)
    ours = t.pagescan('criu', *command)
    check((ours.code, ours.out) == (plain.code, plain.out), f'{ours.code} {ours.out}, not {plain.code} {plain.out}')
    t.victim.unharmed()
    end(t, '1')


def script(t, *lines):
    with open(t.path('script'), 'w') as file:
        print('#!/bin/sh', *lines, sep='\n', file=file)
    os.chmod(t.path('script'), 0o755)
    return t.path('script')


@variants(first='pre-dump', last='post-dump')
def script_that_fails(t, when):
    """A dump that fails leaves the process running; one that failed at its end has reset tracking."""
    begin(t)
    failing = script(t, f'[ "$CRTOOLS_SCRIPT_ACTION" != {when} ]')
    plain = t.criu('dump', 'plain', None, '--action-script', failing, plain=True, code=None)
    check(plain.code, f'plain criu does not mind a failing {when} script')
    t.victim.unharmed()
    t.criu('dump', '2', '1', '--track-mem', '--action-script', failing, code=plain.code)
    t.victim.unharmed()
    third = t.pre_dump('3', '1')
    if when == 'post-dump':
        third.full(OLDER)
    else:
        third.incremental()
    end(t, '3')


@case
def script_that_fails_without_track_mem(t):
    """Nothing was reset."""
    begin(t)
    failing = script(t, '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]')
    plain = t.criu('dump', 'plain', None, '--action-script', failing, plain=True, code=None)
    t.criu('dump', '2', '1', '--action-script', failing, code=plain.code)
    t.victim.unharmed()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


@case
def left_stopped(t):
    begin(t)
    t.criu('dump', '2', '1', '--track-mem', '--leave-stopped').incremental()
    check(t.victim.proc('State')[0] == 'T', f'the victim is not stopped but {t.victim.proc("State")}')
    t.criu('dump', '3', '2', '--track-mem', '--leave-stopped').incremental()
    t.pre_dump('4', '3')  # criu passes by stopped processes in pre-dumps: these images are empty
    check(t.victim.proc('State')[0] == 'T', f'the victim is not stopped but {t.victim.proc("State")}')
    os.kill(t.victim.pid, signal.SIGCONT)
    t.victim.unharmed()
    t.pre_dump('5', '3').incremental()
    t.victim.touch()
    t.pre_dump('6', '4').full()
    end(t, '6')


@case
def left_stopped_by_a_failure(t):
    begin(t)
    failing = script(t, '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]')
    plain = t.criu('dump', 'plain', None, '--leave-stopped', '--action-script', failing, plain=True, code=None)
    os.kill(t.victim.pid, signal.SIGCONT)
    t.criu('dump', '2', '1', '--track-mem', '--leave-stopped', '--action-script', failing, code=plain.code)
    os.kill(t.victim.pid, signal.SIGCONT)
    t.victim.unharmed()
    t.pre_dump('3', '1').full(OLDER)
    end(t, '3')


@case
def no_such_process(t):
    for command in (['pre-dump'], ['dump', '--track-mem'], ['dump']):
        os.makedirs(t.path('1'), exist_ok=True)
        args = [*command, '-t', '4194303', '-D', t.path('1')]
        plain = t.run(CRIU, *args) if command == ['dump'] else None
        ours = t.pagescan('criu', *args)
        check(ours.code == 1, f'exit status {ours.code}')
        check(not plain or (ours.code, ours.out) == (plain.code, plain.out), f'{ours.code} {ours.out}')
    check(not t.keepers(), 'there is a keeper')


@case
def traced_process(t):
    """Another tracer holds it: criu fails, and goes on when that is gone."""
    begin(t)
    seize = f'import ctypes; print(ctypes.CDLL(None).ptrace(0x4206, {t.victim.pid}, 0, 0), flush=True); input()'
    tracer = subprocess.Popen([sys.executable, '-c', seize], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    check(tracer.stdout.readline() == '0\n', 'ptrace refuses')
    plain = t.criu('dump', 'plain', None, plain=True, code=None)
    check(plain.code, 'plain criu does not mind a tracer')
    t.pre_dump('2', '1', code=plain.code)
    t.criu('dump', '2', '1', '--track-mem', code=plain.code)
    tracer.communicate('\n', timeout=TIMEOUT)
    t.victim.unharmed()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


def limit_descriptors(t, free):
    """Let the second process have so many more than the standard three."""
    hard = resource.prlimit(t.victim.pids[1], resource.RLIMIT_NOFILE)[1]
    resource.prlimit(t.victim.pids[1], resource.RLIMIT_NOFILE, (3 + free, hard))


@case
def no_free_descriptor(t):
    """criu itself cannot take such a process. The other one was reset by then; this one was not."""
    begin(t, 'child')
    limit_descriptors(t, 0)
    plain = t.criu('dump', 'plain', None, plain=True, code=None)
    check(plain.code, 'plain criu does not mind that there is no free descriptor')
    t.victim.unharmed()
    t.pre_dump('2', '1', code=plain.code)
    t.victim.unharmed()
    limit_descriptors(t, 100)
    third = t.pre_dump('3', '1').said(f'{t.victim.pids[0]}: its memory is dumped in full: {OLDER}')
    check(third.clean(), 'both were dumped in full')
    end(t, '3')


@case
def no_free_descriptor_in_the_first_round(t):
    t.start_victim('child')
    limit_descriptors(t, 0)
    t.pre_dump('1', code=1).said('the task has no free descriptor')
    t.victim.unharmed()
    limit_descriptors(t, 100)
    t.pre_dump('2').full().silent()
    end(t, '2')


@case
def few_free_descriptors(t):
    """As many as criu needs are enough."""
    t.start_victim('child')
    for free in range(2, 40):
        limit_descriptors(t, free)
        if not t.criu('dump', f'plain-{free}', None, '--leave-running', plain=True, code=None).code:
            break
    t.pre_dump('1').full().silent()
    end(t, '1')


@variants(getfd=f'syscall|438.|2|{errno.EPERM}', pagemap=f'openat|pagemap|4|{errno.EACCES}')
def one_of_two_cannot_be_tracked(t, strike):
    """The child is dumped in full every time this happens, its parent is not concerned."""
    t.start_victim('child')
    t.criu('check', '0', code=None)
    t.pre_dump('1', strike=strike).full('cannot be tracked, its memory is dumped in full')
    t.victim.touch()
    t.pre_dump('2', '1')
    end(t, '2')
