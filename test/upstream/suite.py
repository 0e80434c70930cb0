# SPDX-License-Identifier: GPL-2.0-only
"""CRIU's test suite: its cases, and zdtm.py as a process."""

import os
import re
import select
import subprocess
import sys
import threading
import time

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'test', 'zdtm'))
from reading import read_text  # noqa: E402

BUILD = os.path.abspath(os.environ.get('O', os.path.join(ROOT, 'build')))
SUITE = os.path.join(ROOT, 'build/suite/tree/test')
RUNS = os.path.join(BUILD, 'test/upstream')
WRITTEN = os.path.join(RUNS, 'written.so')
CRIU = os.environ.get('PAGESCAN_CRIU') or os.path.join(ROOT, 'build/criu/criu')
PLAIN = 'plain'
MODES = {
    PLAIN: [],
    'pre': ['--pre', '2'],
    'read': ['--pre', '2', '--pre-dump-mode', 'read'],
    'snaps': ['--pre', '2', '--snaps'],
    'page-server': ['--pre', '2', '--page-server'],
    'live': ['--pre', '2'],  # its pre-dumps by `pagescan pre-dump`, see `criu`
}
FLAVOURS = ['h', 'ns', 'uns']
NO_LIVE_ROUND = 'no task of the tree can be copied while it runs'  # then `criu` has it stopped
CASE_TIMEOUT = 240

interrupted = threading.Event()
running = set()


class Case:
    """A program of the suite, with what zdtm.py knows of it."""

    def __init__(self, name):
        self.name = name
        desc = read_text(os.path.join(SUITE, 'zdtm', name + '.desc'))  # a Python expression, with calls in it at times
        flavours, flags = (re.search(rf'[\'"]{key}[\'"]: *[\'"]([^\'"]*)', desc) for key in ('flavor', 'flags'))
        self.flavours = flavours[1].split() if flavours else FLAVOURS
        # zdtm.py takes these alone: links that criu makes would be seen by other cases.
        self.apart = bool(flags and 'excl' in flags[1].split()) or '--link-remap' in desc


def all_cases():
    """By source: what could not be built has to be told, too."""
    for part in 'static', 'transition':
        command = ['make', '-s', '-C', os.path.join(SUITE, 'zdtm', part), '--eval', 'names: ; @echo $(TST)', 'names']
        names = subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout.split()
        for name in sorted(set(names)):
            yield Case(f'{part}/{name}')


def build_written():
    subprocess.run(['cc', '-O2', '-D_GNU_SOURCE', '-shared', '-fPIC', '-o', WRITTEN, os.path.join(HERE, 'written.c')],
                   check=True)


def environment_of(mode, alone):
    environment = dict(os.environ, PATH='/usr/sbin:/usr/bin:/sbin:/bin', PYTHONUNBUFFERED='1', ZDTM_IGNORE_TAINT='1',
                       PYTHONDONTWRITEBYTECODE='1', PAGESCAN=os.path.join(BUILD, 'pagescan'), PAGESCAN_CRIU=CRIU)
    if alone:
        environment['ALONE'] = WRITTEN
    elif mode == 'live':
        environment['LIVE'] = 'yes'
    if not machine.other_users_can_be_dumped():
        # Of make's, so that they win over what zdtm.py puts into the environment of make.
        environment['MAKEFLAGS'] = 'ZDTM_UID=0 ZDTM_GID=0 ZDTM_GROUPS=0'
    return environment


def start(mode, flavour, cases, alone):
    """zdtm.py in namespaces of its own, so that it meets no keeper but its own, and nothing outlives it."""
    environment = environment_of(mode, alone)
    criu = os.path.join(HERE, 'criu') if mode != PLAIN else CRIU
    command = ['/usr/bin/python3', 'zdtm.py', 'run', '--keep-going', *MODES[mode], '-f', flavour, '--criu-bin', criu]
    for case in cases:
        command += ['-t', f'zdtm/{case.name}']
    process = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child',
                                '--mount-proc', os.path.join(HERE, 'inside'), *command], cwd=SUITE,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment, start_new_session=True)
    running.add(process)
    return process


def lines_of(process):
    """What it prints, by lines, until its end or until it says nothing new for too long, which is told by None."""
    rest, deadline = b'', time.monotonic() + CASE_TIMEOUT
    while True:
        ready = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]
        if not ready:
            yield None
            return
        got = os.read(process.stdout.fileno(), 65536)
        if not got:
            return
        *whole, rest = (rest + got).split(b'\n')
        for line in whole:
            text = line.decode(errors='replace')
            if re.match('=== Run ', text):
                deadline = time.monotonic() + CASE_TIMEOUT
            yield text


def zdtm(mode, flavour, cases, alone=False):
    """Yields each case that zdtm.py comes to, its verdict (PASS, FAIL, SKIP) and its output; `alone`: by criu alone."""
    process = start(mode, flavour, cases, alone)
    case, verdict, log = None, 'FAIL', []
    try:
        for line in lines_of(process):
            if re.match('=== Run ', line or ''):
                continue
            begins = re.match(r'=+ Run zdtm/(\S+) in ', line or '')
            skipped = re.match(r'Skipping zdtm/(\S+) \((.*)\)', line or '')
            if begins or skipped:
                if case:
                    yield case, verdict, log
                case, verdict, log = (begins or skipped)[1], 'FAIL', []
            log.append(line if line is not None else f'upstream: not done within {CASE_TIMEOUT} s')
            if skipped:
                verdict = 'SKIP'
            elif re.match(r'=+ Test zdtm/\S+ PASS ', line or ''):
                verdict = 'PASS'
    finally:
        process.kill()  # and with it process 1 of its namespaces, and so all of them
        process.wait()
        running.remove(process)
    if case:
        yield case, verdict, log
    elif not interrupted.is_set():
        raise RuntimeError('zdtm.py says of no case what it does:\n' + '\n'.join(log[-20:]))


def stop(*_):
    interrupted.set()
    for process in list(running):
        process.kill()
