# SPDX-License-Identifier: GPL-2.0-only
"""That two hosts are what hosts.py says, before anything is moved between them."""

import hashlib
import os
import select
import signal
import subprocess
import time

from hosts import FIRST_PID, Hosts
from kit import TIMEOUT, case, check, reap, variants, wait


@case
def ssh_runs_a_command_on_the_other_host(t):
    with Hosts(t.dir) as hosts:
        for host in hosts.a, hosts.b:
            host.run(['sh', '-c', 'uname -n >/run/name && cp /run/name /tmp'])
        check(hosts.a.run(['cat', '/run/name', '/tmp/name']) == 'a\na\n', 'the hosts share /run or /tmp')
        out = hosts.a.run([*hosts.rsh, 'b', 'id -u; uname -n; cat /run/name; exit 7'], code=7)
        check(out == '0\nb\nb\n', f'it says {out}')


@case
def ssh_transfer_arrives_whole(t):
    digest = hashlib.sha256()
    with open(t.path('data'), 'wb') as file:
        for _ in range(200):
            block = os.urandom(1 << 20)
            digest.update(block)
            file.write(block)
    with Hosts(t.dir) as hosts, open(t.path('data')) as file:
        out = hosts.a.run([*hosts.rsh, 'b', 'sha256sum'], stdin=file, timeout=120)
    check(out.split()[0] == digest.hexdigest(), 'other bytes arrived')


@case
def cut_connection_hangs_and_goes_on_when_mended(t):
    def answer(timeout):
        return echo.stdout.readline() if select.select([echo.stdout], [], [], timeout)[0] else None

    with Hosts(t.dir) as hosts:
        echo = hosts.a.popen([*hosts.rsh, 'b', 'cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        echo.stdin.write(b'before\n')
        check(answer(TIMEOUT) == b'before\n', 'no answer')
        hosts.cut()
        echo.stdin.write(b'meanwhile\n')
        check(answer(2) is None, 'an answer, or an end, though the cable is cut')
        hosts.mend()
        check(answer(TIMEOUT) == b'meanwhile\n', 'no answer when the cable is mended')


@case
def pid_of_one_host_is_free_in_the_other(t):
    with Hosts(t.dir) as hosts:
        pid = hosts.a.pid(hosts.a.popen(['sleep', '1000']))
        check(pid > FIRST_PID, f'its pid is {pid}')
        check(hosts.a.run(['cat', f'/proc/{pid}/comm']) == 'sleep\n', 'it has another pid')
        pids = [int(name) for name in hosts.b.run(['ls', '/proc']).split() if name.isdigit()]
        check(1 in pids and max(pids) < FIRST_PID, f'b has the pids {pids}')


@case
def orphan_of_a_host_frees_its_pid(t):
    with Hosts(t.dir) as hosts:
        pid = hosts.b.run(['sh', '-c', 'sleep 0.1 >/dev/null 2>&1 & echo $!']).strip()
        hosts.b.run(['sh', '-c', 'while [ -e "/proc/$0" ]; do sleep 0.01; done', pid])


@case
def shaped_rate(t):
    with Hosts(t.dir) as hosts:
        hosts.shape(rate_mbit=8)
        started = time.monotonic()
        hosts.a.run([*hosts.rsh, 'b', 'head -c 2000000 /dev/zero'])
        check(time.monotonic() - started > 1.5, '2 MB came through 1 MB/s in less than 1.5 s')
        hosts.shape()
        check('tbf' not in hosts.a.run(['tc', 'qdisc', 'show', 'dev', 'eth0']), 'the bound is still there')


@case
def shaped_delay(t):
    with Hosts(t.dir) as hosts:
        hosts.shape(delay_ms=200)
        started = time.monotonic()
        hosts.a.run([*hosts.rsh, 'b', 'true'])
        check(time.monotonic() - started > 0.8, 'ssh needs two round trips at least, and had no time for them')


@case
def full_disk_of_one_host(t):
    with Hosts(t.dir) as hosts:
        hosts.b.disk(t.path('images'), 1)
        fill = ['sh', '-c', 'head -c 2000000 /dev/zero 2>&1 >"$0"', t.path('images', 'file')]
        check('No space left' in hosts.b.run(fill, code=1), 'it failed otherwise')
        hosts.a.run(fill)


def no_children():
    """Nor has anybody else any: a case is process 1."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


@variants(end=0, kill=signal.SIGKILL)
def nothing_remains_after(t, signo):
    if not (child := os.fork()):
        with Hosts(t.dir) as hosts:
            for host in hosts.a, hosts.b:
                host.popen(['sh', '-c', 'sleep 1000 & exec setsid sleep 1000'])
            if signo:
                os.kill(os.getpid(), signo)
        os._exit(0)
    check(reap(child, 'end of the process with two hosts') == signo, 'it ended otherwise')
    wait(no_children, 'end of the processes of the hosts')
