# SPDX-License-Identifier: GPL-2.0-only
"""The examples in the manuals, as they stand there, with a process that has the pid that they name.

Not those of pagescan-containers(7), which are test/runtimes', of pagescan-migrate(8), which are test/move's, and of
pagescan(3), which are test/packages'.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys

from kit import CASES, CRIU, PAGESCAN, ROOT, check, read_text, wait

sys.path.insert(0, os.path.join(ROOT, 'test', 'docs'))
import pages  # noqa: E402
from server import listens  # noqa: E402

PID = 1234
ELSEWHERE = 'pagescan-containers.7', 'pagescan-migrate.8', 'pagescan.3'
BLOCK_TIMEOUT = 60
CLONE_NEWNET = 0x40000000


def programs(t):
    """`pagescan` and `criu`, for PATH."""
    os.mkdir(t.path('bin'))
    os.symlink(PAGESCAN, t.path('bin', 'pagescan'))
    os.symlink(CRIU, t.path('bin', 'criu'))
    return {**t.environment, 'PATH': f'{t.path("bin")}:{os.environ["PATH"]}'}


def printed_json(text):
    """All values that begin in a line of their own."""
    at, values = 0, []
    while at < len(text):
        end = text.find('\n', at) % (len(text) + 1)
        if text[at] in '{[':
            value, end = json.JSONDecoder().raw_decode(text, at)
            values.append(value)
        at = end + 1
    return values


def members(value):
    if isinstance(value, dict):
        return set(value).union(*map(members, value.values()))
    return set().union(*map(members, value)) if isinstance(value, list) else set()


def bold(page):
    lines = re.findall(r'^\.BR? (.*)$', pages.plain(pages.read('docs', 'man', page)), re.M)
    return {word for line in lines for word in re.findall(r'\w+', line)}


def explained(page, text):
    """The manual, or one that its section on JSON names, has each member that was printed."""
    others = re.findall(r'^\.BR (pagescan\S+) \((\d)\)', pages.plain(pages.section(page, 'JSON') or ''), re.M)
    lacking = members(printed_json(text)).difference(bold(page), *(bold('.'.join(other)) for other in others))
    check(not lacking, f'{page} does not explain {lacking}')


def run_block(t, text, environment):
    """A server in it goes on until the case ends. Nobody else buries processes that have been dumped."""
    with open(t.path('output'), 'a') as out:
        shell = subprocess.Popen(['env', '--default-signal=CHLD', 'sh', '-exc', f'({text}\n)\necho $? >done'], cwd=t.dir,
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=open(t.path('errors'), 'a'),
                                 env=environment)
    if 'page-server -D' in text:
        port = int(text.partition('--port ')[2].split()[0])
        wait(lambda: listens(port), 'page server')
        return
    shell.wait(BLOCK_TIMEOUT)
    check(os.path.exists(t.path('done')), f'`{text}`: {read_text(t.path("errors"))[-600:]}')
    os.unlink(t.path('done'))


def run_examples(t, page):
    check(not ctypes.CDLL(None).unshare(CLONE_NEWNET), 'no network of its own')
    t.run('ip', 'link', 'set', 'lo', 'up').expect(0)
    environment = programs(t)
    with open('/proc/sys/kernel/ns_last_pid', 'w') as last:
        last.write(str(PID - 1))
    t.start_victim('child')
    check(t.victim.pid == PID, f'its pid is {t.victim.pid}')
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    blocks = [text for texts in pages.examples(page).values() for text in texts]
    check(blocks, f'{page} has no examples')
    for text in blocks:
        run_block(t, text, environment)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    explained(page, read_text(t.path('output')))
    t.victim.touch()
    t.victim.verdict()


for name in pages.names():
    if name not in ELSEWHERE:
        CASES[f'manual-{name.rpartition(".")[0].replace(".", "-")}'] = lambda t, page=name: run_examples(t, page)
