# SPDX-License-Identifier: GPL-2.0-only
"""Migrations that break: at each point, whatever is killed, the process runs in one of the two hosts and not in both."""

import contextlib
import os

from kit import case, check, read_text, variants, wait
from moving import Moving, stat_of

# What has come and is not passed on yet, see relay.py; the host in which the process runs in the end.
POINTS = {
    'first_round': 'up.DATA.2',
    'between_rounds': 'down.TAKEN.1',
    'last_images': 'up.LAST.1',
    'ready': 'down.READY.1',
    'go': 'up.GO.1',
    'running': 'down.RUNNING.1',
}
ROUNDS = 'first_round', 'between_rounds'
FROZEN = 'last_images', 'ready', 'go', 'running'


def at(*names):
    return variants(**{name: name for name in names})


def ends_in(m, run, host, code=None):
    """It runs there and was never in both, and pagescan has said so."""
    run.finish()
    run.err = run.err or read_text(m.t.path('err'))
    if host == 'a':
        run.expect(1 if code is None else code)
        check(run.err, 'nothing was said')
        m.stayed()
    else:
        run.expect(0 if code is None else code)
        m.moved()


@at(*POINTS)
def cut(t, name):
    """ssh ends. Between "go" and "running" the source asks anew."""
    with Moving(t, 'child') as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        m.order('cut')
        ends_in(m, run, 'b' if name == 'running' else 'a')


@at(*[name for name in POINTS if name != 'running'])
def receiver_killed(t, name):
    with Moving(t) as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        m.kill(m.b, 'receive')
        m.order('go')
        ends_in(m, run, 'a')


@at(*POINTS)
def source_killed(t, name):
    """criu's script decides alone."""
    with Moving(t) as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        run.kill()
        # The relay knows a "go" already that the script may ask about before it arrives, or after.
        m.order('cut' if name == 'go' else 'go')
        if name == 'running':
            m.moved()
        else:
            m.stayed()


@at(*ROUNDS)
def waiting_criu_killed(t, name):
    """The restore is a plain one then, and a line says so."""
    with Moving(t) as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        m.kill(m.b, 'restore')
        m.order('go')
        ends_in(m, run, 'b')
        check('the restore will be a plain one' in run.err, f'it says {run.err}')


@at('ready', 'go')
def restoring_criu_killed(t, name):
    with Moving(t) as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        m.kill(m.b, 'restore')
        m.order('go')
        ends_in(m, run, 'a')


@variants(once=1, twice=2)
def restoring_criu_killed_amid(t, times):
    """What it leaves half restored holds the pids: it is ended, and a plain restore follows, if that is not killed too."""
    with Moving(t, 'child', wrap=['sh', '-c', 'exec "$@" 9>/tmp/held', 'sh']) as m:
        def half_restored():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # one of criu's own that ends
                return [pid for pid in m.find(m.b, 'restore') if m.b.pid_of(pid) == m.traveller.pid]
            return []

        m.b.run(['mkfifo', '/tmp/held'])  # which a task that opens it waits for
        run = m.start()
        for number in range(times):
            left = wait(half_restored, 'a task')
            if times == 1:
                m.b.run(['sh', '-c', 'rm /tmp/held && : >/tmp/held'])
            m.kill(m.b, 'restore')
            wait(lambda: stat_of(left[0])[0] == 'X', 'end of what was half restored')
        ends_in(m, run, 'b' if times == 1 else 'a')
        check(not m.find(m.b, 'restore'), 'something of the restore is left')
        if times == 1:
            check('a plain one follows' in run.err, f'it says {run.err}')


@at(*FROZEN)
def dump_killed(t, name):
    """The processes are not frozen by criu any more: after "go" they must not run all the same."""
    with Moving(t, 'child') as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        m.kill(m.a, 'dump')
        if name in ('go', 'running'):
            m.traveller.stands_still()
        m.order('go')
        ends_in(m, run, 'b' if name in ('go', 'running') else 'a')


@at(*FROZEN)
def script_killed(t, name):
    """criu lets the processes go on: after "go" they must not run all the same."""
    with Moving(t, 'child') as m:
        run = m.start(point=POINTS[name])
        m.reached(run)
        m.kill(m.a, t.path('work/pagescan-hook'))
        m.order('go')
        ends_in(m, run, 'b' if name in ('go', 'running') else 'a')


@at('pre_resume', 'post_resume')
def receiver_killed_about(t, stage):
    """criu goes on alone, and the source learns it."""
    with Moving(t) as m:
        run = m.start(stage=stage.replace('_', '-'))
        m.reached(run)
        m.kill(m.b, 'receive')
        m.order('go')
        ends_in(m, run, 'b')


@at('pre_resume', 'post_resume')
def source_killed_about(t, stage):
    with Moving(t) as m:
        run = m.start(stage=stage.replace('_', '-'))
        m.reached(run)
        run.kill()
        m.order('go')
        m.moved()


@case
def criu_killed_about_resume(t):
    """Nobody knows whether it runs there: the source stands still and says so, until somebody has looked."""
    with Moving(t) as m:
        run = m.start(stage='pre-resume', err=t.path('err'))
        m.reached(run)
        m.kill(m.b, 'restore')
        wait(lambda: 'they stay frozen here' in read_text(t.path('err')), 'word of the doubt')
        m.traveller.stands_still()
        os.symlink('running', m.images('told'))
        os.rename(m.images('told'), m.images('verdict'))
        ends_in(m, run, 'b')


@case
def restore_that_fails(t):
    """Its pid is taken."""
    with Moving(t) as m:
        m.b.run(['sh', '-c', 'echo $(($0 - 1)) >/proc/sys/kernel/ns_last_pid; sleep 1000 >/dev/null 2>&1 &',
                 str(m.traveller.pid)])
        run = m.start()
        ends_in(m, run, 'a')
        check('criu restore failed at the destination' in run.err, f'it says {run.err}')


@variants(lockf=('lockf', []), flock=('flock', []), cold=('lockf', ['--no-warm']))
def lock_that_the_source_has(t, how):
    """Both hosts see the file. criu would wait for the lock until the source ends, which waits for criu."""
    role, options = how
    with Moving(t, role) as m:
        run = m.start(*options, criu=['--file-locks'])
        ends_in(m, run, 'a')
        log = read_text(m.images('last/restore-plain.log'))
        check(f'pagescan: {m.traveller.path("locked")} is locked' in log, f'criu says {log}')


@case
def script_of_the_users_that_fails(t):
    """criu lets the processes go on, though they run at the destination."""
    with Moving(t) as m:
        m.program(t.path('fails'), '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]\n')
        ends_in(m, m.start(criu=['--action-script', t.path('fails')]), 'b')


@case
def cable_pulled(t):
    """Nothing comes any more, and nothing tells so."""
    with Moving(t) as m:
        run = m.start(point='up.LAST.1')
        m.reached(run)
        m.cut()
        m.order('go')
        ends_in(m, run, 'a')


@case
def command_that_criu_cannot_be_told(t):
    """Its script could not ask the destination if pagescan were killed, so the destination never hears "go"."""
    with Moving(t) as m:
        run = m.start(rsh=['env', f'LONG={"x" * 5000}', *m.rsh])
        ends_in(m, run, 'a')
        check('cannot be told how to ask' in run.err, f'it says {run.err}')
