# SPDX-License-Identifier: GPL-2.0-only
"""The examples of pagescan-migrate(8), as they stand there: from a to b, which has pagescan in PATH."""

import os
import shutil
import sys

from kit import PAGESCAN, ROOT, case, check
from moving import Moving

sys.path.insert(0, os.path.join(ROOT, 'test', 'docs'))
import pages  # noqa: E402

PID = 1234


@case
def manual_pagescan_migrate(t):
    with Moving(t) as m:
        m.a.run(['sh', '-c', f'echo {PID - 1} >/proc/sys/kernel/ns_last_pid'])
        other = m.travel('other')
        check(other.pid == PID, f'its pid is {other.pid}')
        os.mkdir(t.path('bin'))
        os.symlink(PAGESCAN, t.path('bin', 'pagescan'))
        m.program(t.path('bin', 'ssh'), f'#!/bin/sh\nexec {shutil.which("ssh")} -F {m.path("config")} "$@"\n')
        for directory in '/usr/local/sbin', '/var/lib':
            m.b.run(['mount', '-t', 'tmpfs', 'tmpfs', directory])
        m.b.run(['cp', m.remote, '/usr/local/sbin/pagescan'])
        blocks = pages.examples('pagescan-migrate.8')['']
        check(blocks, 'the manual has no examples')
        out = ''.join(m.a.run(['sh', '-exc', text], timeout=60, cwd=t.dir,
                              env={**t.environment, 'PATH': f'{t.path("bin")}:{os.environ["PATH"]}'}) for text in blocks)
        check(out.splitlines()[-1] == 'running', f'it says {out}')
        m.moved(other)
