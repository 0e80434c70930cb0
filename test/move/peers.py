# SPDX-License-Identifier: GPL-2.0-only
"""Ends that are not what they should be: strangers at either end of the wire, directories and disks that do not serve.

The source's part runs without hosts where nothing is restored: an --rsh that stays on this one is enough.
"""

import contextlib
import os
import platform
import struct
import subprocess
import sys

from kit import CRIU, PAGESCAN, Skip, case, check, variants, wait
from moving import Moving
from relay import FRAMES

VERSION = 3
ARCH = platform.machine()


def frame(kind, content=b'', zero=0, size=None):
    number = kind if isinstance(kind, int) else FRAMES.index(kind) + 1
    return struct.pack('<IIQ', number, zero, len(content) if size is None else size) + content


def hello(version=VERSION, page=os.sysconf('SC_PAGESIZE'), arch=ARCH):
    return frame('HELLO', struct.pack('<II24s', version, page, arch.encode()))


def number(value, size=8):
    return value.to_bytes(size, 'little')


def place(offset, file=1):
    return number(offset) + number(file, 4)


def end(sent, size):
    return frame('FILE_END', number(sent) + number(size))


def listen(connections=1, port=0, address=b'127.0.0.1'):
    return frame('LISTEN', number(connections, 4) + number(port, 4) + bytes(32) + address)


def rsh(t, text):
    path = t.path('rsh')
    with open(path, 'w') as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def here(t):
    """Another host that is this one."""
    return rsh(t, f'#!/bin/sh\nshift\nPAGESCAN_CRIU={CRIU} exec sh -c "$*"\n')


def migrate(t, *args, code=1, to='images', work='work'):
    """Of the case's own victim, which has to stay."""
    run = t.pagescan('migrate', '-t', str(t.victim.pid), f'there:{t.path(to)}', '--work-dir', t.path(work),
                     '--remote-pagescan', PAGESCAN, *args)
    return run.expect(code)


def stayed(t, run, *texts, lines=1):
    run.said(*texts)
    check(len(run.err.splitlines()) <= lines, f'more than {lines} lines: {run.err}')
    t.victim.unharmed()
    check(str(t.victim.pid) not in t.pagescan('status').expect(0).out.split(), 'the victim is tracked')
    t.victim.verdict()


@variants(
    nothing=(b'', 'the connection has ended'),
    text=(b'HTTP/1.0 400 Bad Request\r\n\r\n', 'what is not understood'),
    no_hello=(frame('NOTE', b'hello'), 'is no pagescan'),
    another_version=(hello(version=99), 'version 99'),
    other_pages=(hello(page=16384), 'pages of 16384 bytes'),
    another_machine=(hello(arch='pdp11'), 'pdp11'),
    ready_at_once=(hello() + frame('READY'), 'makes no sense'),
    running_at_once=(hello() + frame('RUNNING'), 'makes no sense'),
    a_frame_of_the_source=(hello() + frame('ROUND', number(1, 4)), 'makes no sense'),
    a_frame_of_no_type=(hello() + frame(99), 'what is not understood'),
    a_frame_too_long=(hello() + frame('NOTE', size=1 << 40), 'what is not understood'),
    half_a_frame=(hello() + frame('NOTE', b'x', size=9), 'the connection has ended'),
    knows_unasked=(hello() + frame('KNOWN'), 'makes no sense'),
    listens_to_nobody=(hello() + frame('LISTENS', number(1, 4)), 'makes no sense'),
    failure=(hello() + frame('FAILED', b'the cellar is flooded'), 'the cellar is flooded'),
)
def receiver_that_says(t, answer):
    """One line, and the process stays."""
    said, text = answer
    t.start_victim()
    with open(t.path('said'), 'wb') as file:
        file.write(said)
    # It hears the source out, unless it has hung up.
    ear = 'exec cat >/dev/null' if said and not said.endswith(b'x') else 'exit 0'
    run = migrate(t, '--rsh', rsh(t, f'#!/bin/sh\ncat {t.path("said")}\nexec >&-\n{ear}\n'))
    stayed(t, run, text, lines=2)


@variants(rsh=['--rsh', '/no/such/rsh'], pagescan=['--remote-pagescan', '/no/such/pagescan'])
def destination_without(t, options):
    t.start_victim()
    run = migrate(t, *(options if '--rsh' in options else ['--rsh', here(t), *options]))
    check('/no/such/' in run.err, f'it says {run.err}')
    stayed(t, run, 'cannot begin at there', lines=2)


@case
def host_that_cannot_be_reached(t):
    t.start_victim()
    run = migrate(t, '--rsh', rsh(t, '#!/bin/sh\necho "rsh: $1: no such host" >&2\nexit 255\n'))
    stayed(t, run, 'cannot begin at there', lines=2)


@variants(not_there=([], 'No such file or directory'), file=(['touch'], 'Not a directory'))
def base_that_cannot_be_read(t, what):
    command, text = what
    t.start_victim()
    if command:
        t.run(*command, t.path('base')).expect(0)
    run = migrate(t, '--rsh', here(t), '--base', t.path('base'))
    stayed(t, run, f'cannot read the images of --base, {t.path("base")}: {text}', lines=3)


@case
def base_without_pages(t):
    """All pages are sent."""
    with Moving(t) as m:
        os.mkdir(t.path('base'))
        m.migrate('--base', t.path('base'))
        m.warm()
        m.moved()


@case
def base_that_changes(t):
    """While it is in use. The pages that were offered are not there any more, and no others are taken for them."""
    with Moving(t) as m:
        m.migrate(images=t.path('there'))
        m.traveller.only_in('b')
        m.home('back')
        m.traveller.only_in('a')
        run = m.start('--base', t.path('there'), point='up.ROUND.1')
        m.reached(run)
        for name in 'pages-1.img', 'pages-2.img':
            path = t.path('there/1', name)
            if os.path.exists(path):
                os.truncate(path, os.path.getsize(path) // 2)
        m.order('go')
        run.finish().expect(1).said('have changed meanwhile')
        m.traveller.only_in('a').verdict('a')


@variants(here=('/no/such/criu', CRIU, 'cannot find criu at /no/such/criu'),
          there=(CRIU, '/no/such/criu', 'cannot find criu at the destination'))
def destination_or_source_without_criu(t, criu):
    """That is said before any memory goes over."""
    here, there, text = criu
    t.start_victim()
    t.environment['PAGESCAN_CRIU'] = here
    run = migrate(t, '--rsh', rsh(t, f'#!/bin/sh\nshift\nPAGESCAN_CRIU={there} exec sh -c "$*"\n'))
    stayed(t, run, text, lines=3)
    check('round' not in run.out, f'it says {run.out}')


@case
def destination_that_is_not_empty(t):
    t.start_victim()
    os.mkdir(t.path('images'))
    with open(t.path('images/precious'), 'w') as file:
        file.write('gold')
    stayed(t, migrate(t, '--rsh', here(t)), 'has to be empty', lines=3)
    check(os.listdir(t.path('images')) == ['precious'], 'something was written')


@case
def destination_that_cannot_be_written(t):
    t.start_victim()
    os.mkdir(t.path('images'))
    t.run('mount', '-t', 'tmpfs', '-o', 'ro', 'none', t.path('images')).expect(0)
    stayed(t, migrate(t, '--rsh', here(t)), 'Read-only file system', lines=2)


@case
def destination_that_is_full(t):
    t.start_victim()
    os.mkdir(t.path('images'))
    t.run('mount', '-t', 'tmpfs', '-o', 'size=2m', 'none', t.path('images')).expect(0)
    stayed(t, migrate(t, '--rsh', here(t)), 'No space left on device', lines=2)


@case
def work_directory_that_is_full(t):
    t.start_victim()
    os.mkdir(t.path('work'))
    t.run('mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', t.path('work')).expect(0)
    stayed(t, migrate(t, '--rsh', here(t)), 'No space left on device', lines=2)


@case
def work_directory_in_use(t):
    t.start_victim()
    os.mkdir(t.path('work'))
    os.mkdir(t.path('work/precious'))
    stayed(t, migrate(t, '--rsh', here(t)), 'is not empty')
    check(os.listdir(t.path('work')) == ['precious'], 'something was written, or removed')
    check(not os.path.exists(t.path('images')), 'the destination was made')


@variants(there='b', here='a')
def disk_that_is_full_in_the_end(t, name):
    """Where the last images do not fit."""
    with Moving(t) as m:
        host, directory = {'a': (m.a, t.path('work')), 'b': (m.b, m.images())}[name]
        host.disk(directory, 64)
        run = m.start(point='down.TAKEN.1')
        m.reached(run)
        host.run(['sh', '-c', 'head -c 100000000 /dev/zero >"$0/filler"; true', directory])
        m.order('go')
        run.finish().expect(1)
        check('not moved, the processes go on here' in run.err, f'it says {run.err}')
        m.stayed()


@case
def memory_that_does_not_suffice(t):
    """The restore is a plain one, and one line says why."""
    with Moving(t) as m:
        with open(t.path('meminfo'), 'w') as file:
            file.write('MemAvailable: 2048 kB\n')
        m.b.run(['mount', '--bind', t.path('meminfo'), '/proc/meminfo'])
        run = m.migrate()
        check('the restore will be a plain one' in run.err and 'MiB of memory are available' in run.err and
              len(run.err.splitlines()) == 1, f'it says {run.err}')
        m.moved()


@case
def address_space_that_does_not_suffice(t):
    with Moving(t) as m:
        m.program(m.remote, f'#!/bin/sh\nulimit -S -v 4000000\nPAGESCAN_CRIU={CRIU} exec {PAGESCAN} "$@"\n')
        run = m.migrate()
        check('the restore will be a plain one: cannot hold the pages' in run.err and len(run.err.splitlines()) == 1,
              f'it says {run.err}')
        m.moved()


@contextlib.contextmanager
def memory_cgroup(mib):
    """A cgroup whose processes have no more memory than that, and no swap."""
    hierarchies = {'/sys/fs/cgroup/memory': {'memory.limit_in_bytes': mib << 20, 'memory.swappiness': 0},
                   '/sys/fs/cgroup': {'memory.max': mib << 20, 'memory.swap.max': 0}}
    base = next((base for base in hierarchies if os.path.exists(os.path.join(base, 'cgroup.procs'))), None)
    if not base:
        raise Skip('no cgroup of memory is mounted')
    group = os.path.join(base, f'pagescan-test-{os.urandom(4).hex()}')
    try:
        os.mkdir(group)
        for name, value in hierarchies[base].items():
            with open(os.path.join(group, name), 'w') as file:
                file.write(str(value))
    except OSError as reason:
        with contextlib.suppress(OSError):
            os.rmdir(group)
        raise Skip(f'no cgroup can bound memory: {reason}') from None
    try:
        yield group
    finally:
        os.rmdir(group)


@case
def memory_of_a_cgroup_that_does_not_suffice(t):
    """The kernel kills what needs most of it there, whatever that is doing."""
    with memory_cgroup(8) as group:
        with Moving(t) as m:
            m.program(m.remote, f'#!/bin/sh\necho $$ >{group}/cgroup.procs\nPAGESCAN_CRIU={CRIU} exec {PAGESCAN} "$@"\n')
            run = m.migrate(code=1)
            check('not moved, the processes go on here' in run.err, f'it says {run.err}')
            m.stayed()


BEGUN = frame('ROUND', number(1, 4))
FILE = BEGUN + frame('FILE', b'pages-1.img')
NONSENSE = 'what makes no sense'


@variants(
    text=(b'GET / HTTP/1.0\r\n\r\n', 'not understood'),
    type_0=(frame(0), 'not understood'),
    a_type_that_is_not=(frame(77), 'not understood'),
    a_head_of_another_kind=(frame('ROUND', number(1, 4), zero=1), 'not understood'),
    a_frame_too_long=(frame('ROUND', size=(1 << 20) + 4097), 'not understood'),
    an_endless_frame=(frame('ROUND', size=(1 << 64) - 1), 'not understood'),
    half_a_head=(b'\2\0\0', 'connection has ended'),
    half_a_frame=(frame('ROUND', b'\1', size=4), 'connection has ended'),
    nothing=(b'', 'connection has ended'),
    another_hello=(hello(), NONSENSE),
    go_at_once=(frame('GO'), NONSENSE),
    words_of_a_destination=(frame('READY'), NONSENSE),
    round_2_first=(frame('ROUND', number(2, 4)), NONSENSE),
    round_0=(frame('ROUND', number(0, 4)), NONSENSE),
    round_of_8_bytes=(frame('ROUND', number(1)), NONSENSE),
    round_in_a_round=(BEGUN + frame('ROUND', number(2, 4)), NONSENSE),
    parent_of_the_first=(BEGUN + frame('PARENT'), NONSENSE),
    end_of_no_round=(frame('ROUND_END'), NONSENSE),
    last_of_no_round=(frame('LAST'), NONSENSE),
    end_in_a_file=(FILE + frame('ROUND_END'), NONSENSE),
    file_before_a_round=(frame('FILE', b'a'), NONSENSE),
    file_in_a_file=(FILE + frame('FILE', b'a'), NONSENSE),
    file_twice=(FILE + end(0, 0) + frame('FILE', b'pages-1.img'), 'File exists'),
    name_above=(BEGUN + frame('FILE', b'../outside'), NONSENSE),
    name_from_the_root=(BEGUN + frame('FILE', b'/outside'), NONSENSE),
    name_below=(BEGUN + frame('FILE', b'a/b'), NONSENSE),
    name_with_a_zero=(BEGUN + frame('FILE', b'a\0b'), NONSENSE),
    name_that_is_hidden=(BEGUN + frame('FILE', b'.a'), NONSENSE),
    name_of_the_parent=(BEGUN + frame('FILE', b'parent'), NONSENSE),
    no_name=(BEGUN + frame('FILE'), NONSENSE),
    name_too_long=(BEGUN + frame('FILE', b'a' * 256), NONSENSE),
    data_of_no_file=(BEGUN + frame('DATA', place(0) + b'x'), NONSENSE),
    data_of_another_file=(FILE + frame('DATA', place(0, 2) + b'x'), NONSENSE),
    data_without_a_place=(FILE + frame('DATA', b'abc'), NONSENSE),
    data_beyond_all=(FILE + frame('DATA', place((1 << 63) - 1) + b'xyz'), NONSENSE),
    data_far_away=(FILE + frame('DATA', place((1 << 63) - 4096) + b'xyz'), 'cannot write'),
    no_block_of_lz4=(FILE + frame('LZ4', place(0) + number(4096, 4) + b'\xff' * 50), NONSENSE),
    block_too_large=(FILE + frame('LZ4', place(0) + number(1 << 31, 4) + b'\0'), NONSENSE),
    same_as_nothing=(FILE + frame('SAME', place(0) + bytes(32)), NONSENSE),
    size_below_0=(FILE + end(0, 1 << 63), NONSENSE),
    size_of_4_bytes=(FILE + frame('FILE_END', number(0) + number(0, 4)), NONSENSE),
    less_than_was_sent=(FILE + frame('DATA', place(0) + b'xyz') + end(2, 3), NONSENSE),
    more_than_was_sent=(FILE + end(1, 1), NONSENSE),
    no_file_to_drop=(BEGUN + frame('FILE_DROP', number(0)), NONSENSE),
    listen_to_none=(listen(0), NONSENSE),
    listen_to_too_many=(listen(65), NONSENSE),
    listen_to_no_address=(listen(address=b''), NONSENSE),
    listen_to_a_name=(listen(address=b'localhost'), 'cannot listen at localhost'),
    listen_to_another_host=(listen(address=b'192.0.2.1'), '--tcp=ADDRESS names an address that it has'),
    listen_to_no_port=(listen(port=65536), NONSENSE),
    listen_without_a_key=(frame('LISTEN', number(1, 4)), NONSENSE),
    listen_in_a_round=(BEGUN + listen(), NONSENSE),
    listen_and_more=(listen() + BEGUN, 'the source has given up'),
    listen_and_hang_up=(listen(), 'the source has given up'),
)
def source_that_says(t, nonsense):
    """One clear line, nothing is written elsewhere, nothing is left running."""
    said, text = nonsense
    os.mkdir(t.path('there'))
    before = sorted(os.listdir(t.dir))
    run = subprocess.run([PAGESCAN, 'receive', '-D', t.path('there/images')], input=hello() + said,
                         capture_output=True, env=t.environment, timeout=60)
    check(run.returncode == 1, f'it ended with {run.returncode}: {run.stderr}')
    check(run.stdout.startswith(hello()), 'no hello')
    at, frames = 0, []
    while at < len(run.stdout):
        kind, _, size = struct.unpack_from('<IIQ', run.stdout, at)
        frames.append((FRAMES[kind - 1], run.stdout[at + 16:at + 16 + size].decode(errors='replace')))
        at += 16 + size
    check(frames[-1][0] == 'FAILED' and text in frames[-1][1], f'it says {frames[1:]}')
    check(sorted(os.listdir(t.dir)) == before and os.listdir(t.path('there')) == ['images'], 'written elsewhere')
    check(not os.path.exists('/outside'), 'written into the root')


@case
def round_that_is_nonsense(t):
    """It is no reason to end: the restore will be a plain one."""
    files = b''.join(frame('FILE', name) + frame('DATA', place(0, file) + b'nonsense') + end(8, 8)
                     for file, name in enumerate((b'pagemap-7.img', b'outline-7.img'), 1))
    run = subprocess.run([PAGESCAN, 'receive', '-D', t.path('images')], capture_output=True, env=t.environment,
                         input=hello() + BEGUN + files + frame('ROUND_END') + frame('GO'), timeout=60)
    check(run.returncode == 1, f'it ended with {run.returncode}')
    check(NONSENSE.encode() in run.stdout, f'it says {run.stdout}')
