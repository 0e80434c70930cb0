# SPDX-License-Identifier: GPL-2.0-only
"""Ways to take a program through rounds: stopped for each, live, and to another host. Clients go on all the time; a
dump ends their connections (--tcp-close), as a machine that loses its power does. Every page that is called clean is
compared with the parent images.

A way takes a program from its start to its end, and returns of each chain the rounds in order, the dump last: `bytes`
written, `clean` bytes left to the parent, `ms` for which nobody ran.
"""

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import time

from hosts import CLONE_NEWNET, Hosts, call
from kit import CRIU, PAGESCAN, check, reap, read_text, stats, wait

ROUNDS = 4
LOAD_S = 1.5
RUN_S = 1000  # for a run of criu on a machine that has much else to do
VERIFY = {'PAGESCAN_VERIFY': '1'}
PATIENCE = ['--timeout', str(RUN_S)]  # criu's own for the freeze is 10 s
CONNECTIONS = ['--tcp-close', '--skip-in-flight']
# So short a pause is never had: all rounds are taken, and the exit status says so.
LIMITS = ['--downtime-limit', '1', '--max-rounds', str(ROUNDS), '--json']
LONGER = 3


class Here:
    """The namespaces of the case, as a place for a program."""

    ADDRESS = '127.0.0.1'

    def __init__(self):
        call('unshare', CLONE_NEWNET)
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)

    def popen(self, command, **how):
        return subprocess.Popen(command, **how)

    def pid(self, process):
        return process.pid


def reaped(pids):
    """All of these have ended, and those that are children of ours do not keep their pids."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return not any(os.path.exists(f'/proc/{pid}') for pid in pids)


def restore(t, program, images):
    """By plain criu, when the pids are free again."""
    pids = [int(name[5:-4]) for name in os.listdir(t.path(images)) if name.startswith('core-')]
    wait(lambda: reaped(pids), 'end of the dumped processes')
    program.process.returncode = 0  # it is no child of ours any more, and its pid is that of another process
    t.criu('restore', images, None, '-d', CONNECTIONS[0], *program.CRIU, plain=True, timeout=RUN_S)


def written(directory):
    """Shared memory as well, which is in no counter."""
    return sum(map(os.path.getsize, glob.glob(os.path.join(directory, 'pages-*.img'))))


def figures(directory):
    got = stats.read(os.path.join(directory, 'stats-dump'))
    return {'bytes': written(directory), 'clean': got['pages_skipped_parent'] * os.sysconf('SC_PAGESIZE'),
            'ms': got['frozen_time'] / 1000}


def one_by_one(t, program, name, rounds):
    """Rounds, each the parent of the next, then criu's dump and restore."""
    def dump(*args, **how):
        t.criu('dump', *args, '--track-mem', *PATIENCE, *CONNECTIONS, *program.CRIU, **how)

    took = []
    for number, (action, *args) in enumerate([*rounds, (dump,)], 1):
        time.sleep(LOAD_S)
        action(f'{name}.{number}', f'{name}.{number - 1}' if took else None, *args, env=VERIFY, victim=program,
               timeout=RUN_S)
        took.append(figures(t.path(f'{name}.{number}')))
    restore(t, program, f'{name}.{number}')
    return took


def pre_dumps(t, program, name):
    """Of criu, in both its modes."""
    return one_by_one(t, program, name, [(t.pre_dump, *PATIENCE, '--pre-dump-mode', ('splice', 'read')[turn % 2])
                                         for turn in range(ROUNDS)])


def live_rounds(t, program, name):
    return one_by_one(t, program, name, [(t.live,)] * ROUNDS)


def told(out):
    """What --json tells: the rounds, and the end."""
    *rounds, end = map(json.loads, out.splitlines())
    check(all(event['live'] for event in rounds), 'a round was not live')
    return [{'bytes': event['copied_bytes'], 'clean': event['parent_bytes'], 'ms': 0} for event in rounds], end


def pagescan_dump(t, program, name):
    """All by one command."""
    time.sleep(LOAD_S)
    run = t.pagescan('dump', '-t', str(program.pid), '-D', t.path(name), *LIMITS, '--', *PATIENCE, *CONNECTIONS,
                     *program.CRIU, env=VERIFY, timeout=RUN_S).expect(LONGER)
    last = os.path.join(name, 'last')
    rounds, _ = told(run.out)
    took = [*rounds, figures(t.path(last))]
    restore(t, program, last)
    return took


def here(t, program, *chains):
    """Chains of a program that stays where it is."""
    program.start(Here(), [Here.ADDRESS])
    took = []
    for number, chain in enumerate(chains):
        program.begin_load()
        took.append(chain(t, program, f'chain{number}'))
        program.end_load()
        program.verify()
        for images in glob.glob(t.path(f'chain{number}*')):
            shutil.rmtree(images, ignore_errors=True)
    os.kill(program.pid, signal.SIGTERM)
    status = reap(program.pid, 'its end')
    check(os.waitstatus_to_exitcode(status) == program.ENDS, f'it ended with status {status:#x}')
    return took


def stopped(t, program):
    return here(t, program, pre_dumps, pre_dumps)


def live(t, program):
    return here(t, program, live_rounds, pagescan_dump)


def migrate(t, program, hosts):
    there = t.path('pagescan')
    with open(there, 'w') as file:
        file.write(f'#!/bin/sh\nPAGESCAN_VERIFY=1 PAGESCAN_CRIU={CRIU} exec {PAGESCAN} "$@"\n')
    os.chmod(there, 0o755)
    out = hosts.a.run([PAGESCAN, 'migrate', '-t', str(program.pid), f'b:{t.path("images")}',
                       '--rsh', ' '.join(hosts.rsh), '--remote-pagescan', there, '--work-dir', t.path('work'),
                       *LIMITS, '--', '-v4', *PATIENCE, *CONNECTIONS, *program.CRIU], env=t.environment, code=LONGER,
                      timeout=RUN_S)
    rounds, end = told(out)
    log = read_text(t.path('images/last/restore.log'))
    check('a plain restore' not in log and not os.path.exists(t.path('images/last/restore-plain.log')), 'not warm')
    return [*rounds, {'bytes': written(t.path('images/last')), 'clean': None, 'ms': end['downtime_milliseconds']}]


def moved(t, program):
    """From one host to the other, where it goes on; its clients find it there."""
    with Hosts(t.dir) as hosts:
        call('setns', hosts.a.pidfd, CLONE_NEWNET)  # the clients are here, wherever the program is
        program.start(hosts.a, [hosts.a.address, hosts.b.address])
        program.begin_load()
        time.sleep(LOAD_S)
        took = migrate(t, program, hosts)
        time.sleep(LOAD_S)
        program.end_load()
        program.verify()
        hosts.b.run(['kill', str(program.pid)])
        hosts.b.run(['sh', '-c', 'while [ -e "/proc/$0" ]; do sleep 0.01; done', str(program.pid)])
    return [took]
