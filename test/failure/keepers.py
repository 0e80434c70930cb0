# SPDX-License-Identifier: GPL-2.0-only
"""The keeper is killed, told to let go, cannot be started or does not answer: full, and the log says why."""

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import time

from chains import NO_RECORD, begin, end
from command import install
from kit import CRIU, PAGESCAN, PROGRAMS, Skip, case, check, read_text, variants, wait
from rpc import DUMP, SINGLE_PRE_DUMP, Service, has_tracking

SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
LOST = 'the tracking that the parent images began is lost'


def kill_keeper(t):
    check(len(t.keepers()) == 1, f'keepers: {t.keepers()}')
    for pid in t.keepers():
        os.kill(pid, signal.SIGKILL)


@case
def keeper_killed_between_rounds(t):
    t.start_victim()
    t.pre_dump('1')
    kill_keeper(t)
    t.victim.touch()
    t.pre_dump('2', '1').full(LOST)
    end(t, '2')


@variants(before_get='openat|smaps|1', before_put='openat|clear_refs|1', after_put='write|pagescan: |1')
def keeper_killed_within_a_round(t, strike):
    """criu holds the userfaultfd from GET to the round's end: a new keeper takes it over with PUT."""
    begin(t)
    run = t.start_criu('pre-dump', '2', '1', strike=f'{strike}|stop').wait_stopped()
    kill_keeper(t)
    run.go_on().expect(0)
    t.victim.unharmed()
    if 'smaps' in strike:
        run.full(LOST)
    else:
        run.incremental()
    third = t.pre_dump('3', '2')
    if 'pagescan: ' in strike:
        third.full(LOST)
    else:
        third.incremental()
    end(t, '3')


@variants(by_pid=False, all=True)
def untracked(t, everything):
    begin(t)
    run = t.pagescan('untrack', '--all' if everything else str(t.victim.pid)).expect(0)
    check(run.out == '1 task untracked\n', run.out)
    t.pre_dump('2', '1').full(LOST)
    end(t, '2')


def duplicate(pid, fd):
    """Another process's descriptor (pidfd_getfd(2))."""
    pidfd = os.pidfd_open(pid)
    copy = SYSCALL(438, pidfd, fd, 0)
    os.close(pidfd)
    check(copy >= 0, f'descriptor {fd} of {pid}: {os.strerror(ctypes.get_errno())}')
    return copy


def areas(t):
    """The victim's areas, as {first line in smaps: flags}."""
    found, area = {}, ''
    for line in read_text(f'/proc/{t.victim.pid}/smaps').splitlines():
        if re.match('[0-9a-f]+-', line):
            area = line
        elif line.startswith('VmFlags:'):
            found[area] = line.split()[1:]
    return found


@case
def untracked_before_the_keeper_closes(t):
    """Closing a userfaultfd holds the process up for long, so its memory is let go before, and is in as many areas as it was."""
    t.start_victim()
    before = list(areas(t))
    t.live('1')
    check(any('uw' in flags for flags in areas(t).values()), 'nothing is registered')
    keeper, = t.keepers()
    fd, = (int(fd) for fd in os.listdir(f'/proc/{keeper}/fd')
           if 'userfaultfd' in os.readlink(f'/proc/{keeper}/fd/{fd}'))
    copy = duplicate(keeper, fd)  # so that the keeper's closing lets go of nothing
    t.pagescan('untrack', str(t.victim.pid)).expect(0)
    after = areas(t)
    kept = [area for area, flags in after.items() if 'uw' in flags and '/' not in area]
    check(not kept, f'still registered: {kept}')
    os.close(copy)
    check(list(after) == before, f'other areas than before: {set(after) ^ set(before)}')
    t.victim.touch()
    t.dump('2')
    t.restore('2')


@case
def untracked_within_a_round(t):
    """The round has the userfaultfd in its hands, and hands it back."""
    begin(t)
    run = t.start_criu('pre-dump', '2', '1', strike='openat|clear_refs|1|stop').wait_stopped()
    t.pagescan('untrack', str(t.victim.pid)).expect(0)
    run.go_on().expect(0).incremental()
    t.victim.touch()
    t.pre_dump('3', '2').incremental()
    end(t, '3')


@case
def keeper_ends_when_nothing_is_tracked(t):
    begin(t)
    t.pagescan('untrack', '--all').expect(0)
    wait(lambda: not t.keepers(), 'end of the keeper')
    t.pre_dump('2', '1').full(LOST)
    end(t, '2')
    wait(lambda: not t.keepers(), 'end of the keeper')


def make_file(path):
    with open(path, 'w'):
        pass


def make_open_to_others(path):
    os.mkdir(path)
    os.chmod(path, 0o755)


def make_anothers(path):
    os.mkdir(path, 0o700)
    os.chown(path, 65534, 65534)


def make_link(path):
    os.mkdir('/run/elsewhere', 0o700)
    os.symlink('elsewhere', path)


def make_lock_a_directory(path):
    os.mkdir(path, 0o700)
    os.mkdir(os.path.join(path, 'lock'))


def make_socket_a_directory(path):
    os.mkdir(path, 0o700)
    os.mkdir(os.path.join(path, 'keeper'))


UNTRACKED = 'cannot be tracked, its memory is dumped in full'


@variants(file=make_file, open_to_others=make_open_to_others, of_another=make_anothers, link=make_link)
def keeper_has_no_directory(t, make):
    """No tracking begins: full rounds and a warning; as soon as it can, all is well."""
    make('/run/pagescan')
    t.start_victim()
    t.pre_dump('1').full(UNTRACKED)
    t.victim.touch()
    t.pre_dump('2', '1').full(UNTRACKED)
    os.rename('/run/pagescan', '/run/away')
    t.victim.touch()
    t.pre_dump('3', '2').full(NO_RECORD)
    end(t, '3')


@variants(lock=make_lock_a_directory, socket=make_socket_a_directory)
def keeper_cannot_start(t, make):
    """No keeper, no tracking: full rounds and a warning; as soon as there can be one, all is well."""
    make('/run/pagescan')
    t.start_victim()
    t.pre_dump('1').full('the next round will be a full one')
    t.victim.touch()
    t.pre_dump('2', '1').full('the next round will be a full one', NO_RECORD)
    os.rename('/run/pagescan', '/run/away')
    t.victim.touch()
    t.pre_dump('3', '2').full(NO_RECORD)
    end(t, '3')


NO_PROGRAM = 'the next round will be a full one: cannot start the keeper: '


@contextlib.contextmanager
def program_hidden(t):
    """The plugin finds no program to start as the keeper: it is hidden as soon as `pagescan criu` runs criu."""
    if os.path.exists('/usr/sbin/pagescan'):
        raise Skip('it is installed')
    before = t.environment['PAGESCAN_CRIU']
    install(t.path('criu'), '#!/bin/sh', f'mount --bind /dev/null {PAGESCAN}', f'exec {CRIU} "$@"')
    t.environment['PAGESCAN_CRIU'] = t.path('criu')
    yield
    t.run('umount', PAGESCAN).expect(0)
    t.environment['PAGESCAN_CRIU'] = before


@case
def keeper_has_no_program(t):
    """Nor soft-dirty: criu alone would fail. Full rounds and a warning; as soon as there is one, all is well."""
    t.start_victim()
    with program_hidden(t):
        t.pre_dump('1').full(NO_PROGRAM)
    t.victim.touch()
    with program_hidden(t):
        t.pre_dump('2', '1').full(NO_PROGRAM, NO_RECORD)
    t.victim.touch()
    t.pre_dump('3', '2').full(NO_RECORD)
    end(t, '3')


@case
def keeper_has_no_program_but_runs(t):
    """As while a package is upgraded."""
    begin(t)
    with program_hidden(t):
        t.pre_dump('2', '1').incremental()
    end(t, '2')


@case
def keeper_has_no_program_in_rpc(t):
    """A container runtime's rounds: it is told that there is tracking, no round fails, and each log says why it is full."""
    t.start_victim()
    for request, images, parent in ((SINGLE_PRE_DUMP, '1', None), (SINGLE_PRE_DUMP, '2', '1'), (DUMP, '3', '2')):
        with program_hidden(t):
            service = Service(t)
            check(has_tracking(service), 'no memory tracking')
            service.end()
            service.run.expect(0)
        with program_hidden(t):
            service = Service(t)
            service.round(request, images, parent).full(NO_PROGRAM, *([NO_RECORD] if parent else []))
            service.end()
        if request != DUMP:
            t.victim.touch()
    t.victim.wait_dumped()
    t.restore('3')


@case
def keeper_has_no_place(t):
    t.start_victim()
    t.run('mount', '-o', 'remount,ro', '/run').expect(0)
    t.pre_dump('1').full(UNTRACKED + ': cannot make /run/pagescan: Read-only file system')
    t.run('mount', '-o', 'remount,rw', '/run').expect(0)
    t.victim.touch()
    t.pre_dump('2', '1').full(NO_RECORD)
    end(t, '2')


def hang_up(sock):
    sock.recv(100)


def say_nonsense(sock):
    sock.send(b'\xff' * len(sock.recv(100)))


def say_little(sock):
    sock.recv(100)
    sock.send(b'\x01\x00\x00\x00')


def speak_another_version(sock):
    """Agreeing, as one that came with a plugin of another version (struct keeper_message) would in its own words."""
    request = sock.recv(100)
    with open('/dev/null') as null:
        socket.send_fds(sock, [(int.from_bytes(request[:4], 'little') + 1).to_bytes(4, 'little') + request[4:]],
                        [null.fileno()])


def agree(sock):
    """To everything, with descriptors that are no userfaultfd."""
    request = sock.recv(100)
    with open('/dev/null') as null:
        socket.send_fds(sock, [request], [null.fileno()])


@variants(hangs_up=hang_up, says_nonsense=say_nonsense, says_little=say_little, agrees=agree,
          is_newer=speak_another_version)
def keeper_is_none(t, answer):
    """Something else (an older version, perhaps) has its place; what it says is not believed."""
    os.mkdir('/run/pagescan', 0o700)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind('/run/pagescan/keeper')
    listener.listen()
    with open('/run/pagescan/lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        impostor = os.fork()
        while not impostor:
            with listener.accept()[0] as sock:
                try:
                    answer(sock)
                except OSError:
                    pass
    t.start_victim()
    t.pre_dump('1').full()
    t.victim.touch()
    t.pre_dump('2', '1').full('its memory is dumped in full')
    t.victim.unharmed()
    listener.close()
    os.kill(impostor, signal.SIGKILL)
    os.waitpid(impostor, 0)
    t.pre_dump('3', '2').full('its memory is dumped in full')
    end(t, '3')


@case
def keeper_does_not_answer(t):
    """A stopped keeper costs seconds, not the round."""
    begin(t)
    keeper, = t.keepers()
    os.kill(keeper, signal.SIGSTOP)
    started = time.monotonic()
    t.pre_dump('2', '1').full('the keeper does not answer')
    check(time.monotonic() - started < 25, 'it took too long')
    os.kill(keeper, signal.SIGCONT)
    t.victim.touch()
    t.pre_dump('3', '2').full(NO_RECORD)
    end(t, '3')


def held(pid):
    """The descriptors that a keeper has been sent. It may be closing a connection just now."""
    names = []
    for fd in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f'/proc/{pid}/fd/{fd}'))
    return sorted(kind for name in names for kind in ('userfaultfd', 'pidfd') if kind in name)


@case
def keeper_under_valgrind(t):
    """All that a keeper is asked in some rounds, and its end: no invalid access, no leak, no descriptor left open."""
    if not shutil.which('valgrind'):
        raise Skip('valgrind')
    t.start_victim()
    log = t.path('valgrind.log')
    keeper = t.start('valgrind', '--error-exitcode=99', '--leak-check=full', '--show-leak-kinds=all',
                     '--errors-for-leak-kinds=all', f'--log-file={log}', PAGESCAN, 'keeper',
                     env={'LD_PRELOAD': os.path.join(PROGRAMS, 'unfiltered.so')})
    wait(lambda: os.path.exists('/run/pagescan/keeper'), 'start of the keeper')
    t.pre_dump('1')
    t.victim.touch()
    t.pre_dump('2', '1').incremental()
    check(not t.keepers(), 'another keeper was asked')
    check(str(t.victim.pid) in t.pagescan('status').expect(0).out, 'the victim is not listed')
    t.pagescan('untrack', str(t.victim.pid)).expect(0)
    t.pre_dump('3', '2').full(LOST)
    pid = keeper.process.pid
    check(held(pid) == ['pidfd', 'userfaultfd'], f'the keeper holds {held(pid)}')
    end(t, '3')
    keeper.finish()
    check(not keeper.code, read_text(log))
