# SPDX-License-Identifier: GPL-2.0-only
"""runc and crun, which have the same commands."""

import concurrent.futures
import json
import os
import re
import signal
import time

from containers import DUMP, MIB, PAGE, PAGESCAN, WRITER, Container, Redis, Round, Writer, check, read_text, written
from kit import case, variants

ROUNDS = 5
RUNTIMES = {'runc': 'runc', 'crun': 'crun'}


def prepare(t, runtime):
    """criu wants iptables where there is a network namespace. crun knows control groups of one version only."""
    t.need(runtime, 'iptables')
    if runtime == 'crun':
        t.use_cgroup2()


def of_runtimes(function):
    return variants(**RUNTIMES)(function)


def start_writer(t, runtime='runc', programs=(), name='c', **how):
    prepare(t, runtime)
    root = t.root_of(('writer', WRITER), *programs)
    writer = Writer(t.mkdir('data'), 'status' if name == 'c' else name)
    container = Container(t, runtime, writer.command, root, name, **how)
    if how.get('start', True):
        writer.wait_for(100)
    return writer, container


def rounds_of(writer, container):
    """Five pre-dumps and a dump."""
    for number in range(1, ROUNDS + 2):
        writer.wait_for(300)
        writer.mark()
        parent = str(number - 1) if number > 1 else None
        done = container.round(str(number), parent, *([DUMP] if number > ROUNDS else []))
        done.holds_at_most(writer.touched()) if parent else done.full()


def end(writer, container, images=None):
    """The restored process verifies every byte."""
    if images:
        container.restore(images)
    writer.verdict(container.kill)
    container.delete()


@of_runtimes
def writer(t, runtime):
    """Five pre-dumps, a dump, a restore of a container with a read-only root, under a seccomp profile that denies what
    the tracker needs; each round holds what was written since the one before."""
    writer, container = start_writer(t, runtime)
    rounds_of(writer, container)
    end(writer, container, str(ROUNDS + 1))


@of_runtimes
def redis(t, runtime):
    """The same of Debian's redis-server under load: its client is not disturbed, and all that it wrote is there."""
    prepare(t, runtime)
    redis = Redis(t.mkdir('data'))
    container = Container(t, runtime, redis.command, t.root_of(('redis-server', Redis.program())))
    redis.fill()
    for number in range(1, ROUNDS + 2):
        redis.start()
        time.sleep(0.3)
        if number > ROUNDS:
            redis.stop()
        before, touched = redis.writes, written(container.pid())
        parent = str(number - 1) if number > 1 else None
        done = container.round(str(number), parent, *([DUMP] if number > ROUNDS else []))
        if number <= ROUNDS:
            redis.stop()
        # A write takes two pages for the value, one of the table and one of what the client sends.
        touched += (redis.writes - before) * 4 * PAGE
        done.full() if number == 1 else done.holds_at_most(touched)
    container.restore(str(ROUNDS + 1))
    redis.verify()
    redis.start()
    time.sleep(0.1)
    redis.stop()
    redis.verify()
    container.delete()


@of_runtimes
def live(t, runtime):
    """Rounds from the host that do not stop the container are the parents of the runtime's own, which restores them;
    and the host knows which container it is that is tracked."""
    writer, container = start_writer(t, runtime)
    for number in range(1, 4):
        parent = ['--prev-images-dir', f'../{number - 1}'] if number > 1 else []
        writer.wait_for(300)
        writer.mark()
        t.run(PAGESCAN, 'pre-dump', '-t', str(container.pid()), '-D', container.images(str(number)), *parent)
        done = Round(container.images(str(number)))
        if parent:
            done.holds_at_most(writer.touched())
    task, = json.loads(t.run(PAGESCAN, 'status', '--json'))
    check(task['container'] == container.name, f'named otherwise: {task}')
    check(t.run(PAGESCAN, 'status').splitlines()[1].split()[-1] == container.name, 'named otherwise in the table')
    writer.mark()
    container.round('4', '3').holds_at_most(writer.touched())
    writer.mark()
    container.round('5', '4', DUMP).holds_at_most(writer.touched())
    end(writer, container, '5')


@case
def exec_runc(t):
    """A task that enters by exec between rounds, and stays behind in the background, is tracked from then on. (One
    whose parent is outside is none of the container's tree: criu does not dump it.)"""
    writer, container = start_writer(t, programs=[('sh', '/bin/sh')])
    writer.mark()
    container.round('1').full()
    second = Writer(t.path('data'), 'second', 16)
    command = ' '.join([*second.command, '</dev/null >/dev/null 2>&1 &'])
    container.quietly('exec', '--detach', container.name, '/bin/sh', '-c', command)
    second.wait_for(100)
    writer.mark(), second.mark()
    container.round('2', '1').said('have no record of this task').holds_at_most(writer.touched() + 16 * MIB)
    writer.mark(), second.mark()
    container.round('3', '2').holds_at_most(writer.touched() + second.touched())
    writer.mark(), second.mark()
    container.round('4', '3', DUMP).holds_at_most(writer.touched() + second.touched())
    container.restore('4')
    child, = read_text(f'/proc/{container.pid()}/task/{container.pid()}/children').split()
    second.verdict(lambda: os.kill(int(child), signal.SIGTERM))
    end(writer, container)


@case
def user_namespace_runc(t):
    """The container has a user namespace. (Its root is the host's: criu of a machine that lacks CAP_SYS_RESOURCE dumps
    no process of another user.)"""
    same = [{'containerID': 0, 'hostID': 0, 'size': 65536}]
    kinds = ('pid', 'network', 'ipc', 'uts', 'mount', 'user')
    writer, container = start_writer(t, uidMappings=same, gidMappings=same,
                                     namespaces=[{'type': kind} for kind in kinds])
    rounds_of(writer, container)
    end(writer, container, str(ROUNDS + 1))


@case
def cgroup2_runc(t):
    """The freezer of control groups of version 2. (Where the machine has version 1 the other cases use that.)"""
    t.use_cgroup2()
    writer, container = start_writer(t)
    rounds_of(writer, container)
    end(writer, container, str(ROUNDS + 1))


@case
def untracked_runc(t):
    """A container that cannot be tracked is dumped in full in each round, and the runtime's log says why."""
    with open('/run/pagescan', 'w'):
        pass  # where the keeper's directory has to be
    writer, container = start_writer(t)
    for number, options in ((1, []), (2, []), (3, [DUMP])):
        done = container.round(str(number), str(number - 1) if number > 1 else None, *options)
        done.full('cannot be tracked, its memory is dumped in full').holds_all(Writer.SIZE * MIB)
    end(writer, container, '3')


@case
def keeper_killed_runc(t):
    """Between two rounds: the next one is a full one and says why, the one after that is not."""
    writer, container = start_writer(t)
    container.round('1').full()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        if read_text(f'/proc/{pid}/cmdline').split('\0')[1:2] == ['keeper']:
            os.kill(int(pid), signal.SIGKILL)
    writer.mark()
    container.round('2', '1').full('its memory is dumped in full: ').holds_all(Writer.SIZE * MIB)
    writer.wait_for(300)
    writer.mark()
    container.round('3', '2', DUMP).holds_at_most(writer.touched())
    end(writer, container, '3')


@case
def made_anew_runc(t):
    """A container is deleted between two rounds, and another one has its name: nothing of the first one is believed."""
    _, container = start_writer(t)
    container.round('1').full()
    container.delete()
    os.unlink(t.path('data', 'status'))
    writer, container = start_writer(t)
    container.round('2', '1').full('its memory is dumped in full: ').holds_all(Writer.SIZE * MIB)
    container.round('3', '2', DUMP)
    end(writer, container, '3')


@variants(runc=('runc', 'runc'), runc_and_crun=('runc', 'crun'))
def two_at_once(t, runtimes):
    """Two runtimes make rounds of two containers at the same time."""
    for runtime in runtimes:
        prepare(t, runtime)
    both = [start_writer(t, runtime, name=name) for runtime, name in zip(runtimes, ('one', 'two'))]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(rounds_of, *one) for one in both]:
            done.result()
    for writer, container in both:
        end(writer, container, str(ROUNDS + 1))


def walk_through(t, runtime, title):
    """Word for word with runc; with crun in its place, and with what that needs on this machine."""
    writer, container = start_writer(t, runtime, name='web', start=False)
    options = ''.join(f'{option} ' for option in container.options)

    def change(text):
        return re.sub(r'\brunc (checkpoint |restore )?',
                      lambda found: f'{runtime} {found[1] + options if found[1] else ""}', text)
    t.walk_through(title, change)
    end(writer, container)


@of_runtimes
def manual(t, runtime):
    """What docs/containers.md tells to do for rounds of the runtime."""
    walk_through(t, runtime, 'runc and crun')


@of_runtimes
def manual_live(t, runtime):
    """What it tells to do for rounds that do not stop the container."""
    walk_through(t, runtime, 'Rounds that do not stop the container')
