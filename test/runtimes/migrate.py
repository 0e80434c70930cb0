# SPDX-License-Identifier: GPL-2.0-only
"""Containers of runc that move from one host to another, and what holds when something breaks on the way.

The hosts are those of test/move. A container is its victim.c, which tells whether it alone has run all the time; the
machine's control groups are both hosts', so that the container has another one at the destination.
"""

import contextlib
import json
import os

from containers import CRIU, PROGRAMS, WRITER, Container, Writer, check, read_text, wait
import hosts
import moving
from hosts import Hosts
from kit import case, variants
from moving import Moving, Traveller

moving.wait = hosts.wait = wait  # as patient as the other cases here
LEFT = '/run/runc/victim/criu-root'
TIMEOUT = 240  # of a migration, on a machine that has much else to do


def edit(bundle, **changes):
    with open(f'{bundle}/config.json') as file:
        spec = json.load(file)
    for name, change in changes.items():
        if isinstance(change, list):
            spec[name] = spec[name] + change
        else:
            spec.setdefault(name, {}).update(change)
    with open(f'{bundle}/config.json', 'w') as file:
        json.dump(spec, file)


def bundles(t, command, root, name, mounts=(), **linux):
    """The container's bundle, and that of the second host."""
    here = Container(t, 'runc', command, root, name, start=False, **linux).bundle
    edit(here, mounts=list(mounts))
    there = t.mkdir(f'{name}-there')
    with open(f'{here}/config.json') as source, open(f'{there}/config.json', 'w') as file:
        file.write(source.read())
    edit(there, linux={'cgroupsPath': f'{t.cgroup}/{name}-there'})
    return here, there


class Contained(Traveller):
    """The victim in a container, started in the first host. It has no network of its own, by which it is known here.
    `streams`: where its output goes; `script`: a script of criu's at the destination."""

    def __init__(self, hosts, directory, *roles, streams='>/dev/null 2>&1'):
        t = hosts.t
        t.need('runc')
        self.hosts, self.dir, self.touches, self.name = hosts, directory, 0, os.path.basename(directory)
        self.size, self.root_dir = 2 if 'child' in roles else 1, directory
        os.mkdir(directory)
        data = {'destination': directory, 'type': 'bind', 'source': directory, 'options': ['rbind']}
        kinds = ('pid', 'ipc', 'uts', 'mount')
        self.bundle, self.there = bundles(t, ['/bin/victim', directory, 'sole', *roles],
                                          t.root_of(('victim', os.path.join(PROGRAMS, 'victim'))), self.name, [data],
                                          namespaces=[{'type': kind} for kind in kinds])
        log = t.path('runc.log')
        self.process = hosts.a.popen(['sh', '-c', f'exec runc --log "$0" run --detach --bundle "$1" "$2" {streams}', log,
                                      self.bundle, self.name])
        check(not self.process.wait(), f'runc run: {read_text(log)}')
        wait(lambda: len(self.records()) == self.size and all(self.records()), 'start of the victim')

    def named(self):
        return '--container', self.name, '--bundle', self.there


class MovingContainer(Moving):
    def __init__(self, t, *roles, **how):
        t.environment = {**os.environ, 'PAGESCAN_CRIU': CRIU}
        super().__init__(t, *roles, **how)

    def travel(self, name='victim', *roles):
        return Contained(self, self.t.path(name), *(roles or self.roles), **self.how)

    def migrate(self, *args, code=0, **how):
        return self.start(*args, **how).finish(TIMEOUT).expect(code)

    def restore_log(self):
        return read_text(self.images('last/restore.log'))

    def warm(self):
        super().warm()
        check('were held ready' in self.restore_log(), 'nothing was held ready')
        check(not os.path.exists(self.images('last/restore-warm.log')), 'a plain restore followed')

    def find(self, host, *words):
        """criu: one that works on a runtime's request has changed its command line."""
        if words != ('criu',):
            return super().find(host, *words)
        programs = os.path.realpath(CRIU), os.path.dirname(os.path.realpath(CRIU)) + '/tree/'
        net, found = os.readlink(f'/proc/{host.init.pid}/ns/net'), []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError):
                if os.readlink(f'/proc/{pid}/exe').startswith(programs) and os.readlink(f'/proc/{pid}/ns/net') == net:
                    found.append(int(pid))
        return sorted(found)

    def ends_in(self, run, host):
        """It runs there and was never in both, and pagescan has said so."""
        run.finish(TIMEOUT)
        run.err = run.err or read_text(self.t.path('err'))
        run.expect(0 if host == 'b' else 1)
        check(host == 'b' or run.err, 'nothing was said')
        if host == 'b':
            self.moved()
        else:
            self.traveller.only_in('a')

    def again(self):
        """The runtime is none the worse for it. One that was killed has left a container that is none, and in it the root
        file system, which runc would delete with it (docs/migration.md)."""
        self.b.run(['sh', '-ec', f'! mountpoint -q {LEFT} || umount {LEFT}; runc delete --force victim'])
        self.migrate(images=self.t.path('images-again'), work='work-again')
        self.moved()


def at(*names):
    return variants(**{name.replace('-', '_'): name for name in names})


@variants(one=(), tree=('child',))
def migrates_runc(t, roles):
    """Into memory that is held ready by the criu of a `runc restore` that waits, and the first host has none of it."""
    with MovingContainer(t, *roles) as m:
        run = m.migrate()
        check(not run.err, f'it says {run.err}')
        m.warm()
        check('victim' not in m.a.run(['runc', 'list']), 'the first host still has the container')
        check(json.loads(m.b.run(['runc', 'state', 'victim']))['status'] == 'running', 'the second one does not')
        m.moved()


@case
def migrates_cold_runc(t):
    with MovingContainer(t) as m:
        check(not m.migrate('--no-warm').err, 'it complains')
        check('were held ready' not in m.restore_log(), 'it was warm')
        m.moved()


@case
def migrates_there_and_back_runc(t):
    """The images of a container that was restored by its runtime are no others."""
    with MovingContainer(t) as m:
        m.migrate()
        m.traveller.only_in('b')
        m.traveller.bundle, m.traveller.there = m.traveller.there, m.traveller.bundle
        m.home('back')
        m.traveller.only_in('a').verdict('a')


@case
def migrates_with_pipes_runc(t):
    """Standard streams that were pipes are /dev/null afterwards."""
    with MovingContainer(t, streams='2>&1 | cat >/dev/null &') as m:
        m.migrate()
        m.warm()
        check(os.readlink(f'/proc/{m.traveller.root("b")}/fd/1') == '/dev/null', 'its output goes elsewhere')
        m.moved()


@variants(runc='restore', criu='swrk')
def migration_waits_for_none(t, killed):
    """Whoever waits at the destination is killed: the restore is a plain one then, and a line says so. If it is runc, what
    that has left of the container is in its way, and the container goes on here."""
    with MovingContainer(t) as m:
        run = m.start(point='down.TAKEN.1')
        m.reached(run)
        m.kill(m.b, killed)
        m.order('go')
        m.ends_in(run, 'a' if killed == 'restore' else 'b')
        check('the restore will be a plain one' in run.err, f'it says {run.err}')
        if killed == 'restore':
            m.again()


@variants(runc='restore', criu='criu')
def migration_restore_killed(t, killed):
    """When all is restored, and before anybody may run."""
    with MovingContainer(t) as m:
        run = m.start(point='up.GO.1')
        m.reached(run)
        m.kill(m.b, killed)
        m.order('go')
        m.ends_in(run, 'a')
        m.again()


@variants(runc_ready=('checkpoint', 'down.READY.1', 'b'), criu_ready=('criu', 'down.READY.1', 'a'),
          runc_go=('checkpoint', 'up.GO.1', 'b'), criu_go=('criu', 'up.GO.1', 'b'),
          runc_running=('checkpoint', 'down.RUNNING.1', 'b'), criu_running=('criu', 'down.RUNNING.1', 'b'))
def migration_dump_killed(t, how):
    """After "go" the processes must not run here all the same. A runc that is killed leaves them to its criu."""
    killed, point, host = how
    with MovingContainer(t, 'child') as m:
        run = m.start(point=point)
        m.reached(run)
        m.kill(m.a, killed)
        if host == 'b':
            m.traveller.stands_still()
        m.order('go')
        m.ends_in(run, host)
        if host == 'a':
            m.again()


@variants(cut_go=('up.GO.1', 'cut', None, 'a'), cut_running=('down.RUNNING.1', 'cut', None, 'b'),
          receiver_killed=('up.GO.1', 'go', 'receive', 'a'))
def migration_breaks(t, how):
    point, order, killed, host = how
    with MovingContainer(t) as m:
        run = m.start(point=point)
        m.reached(run)
        if killed:
            m.kill(m.b, killed)
        m.order(order)
        m.ends_in(run, host)
        if host == 'a':
            m.again()


@at('go', 'running')
def migration_source_killed(t, name):
    """criu's script decides alone, in runc's criu as in any other."""
    with MovingContainer(t) as m:
        run = m.start(point={'go': 'up.GO.1', 'running': 'down.RUNNING.1'}[name])
        m.reached(run)
        run.kill()
        m.order('cut' if name == 'go' else 'go')
        m.moved() if name == 'running' else m.stayed()


@variants(criu='criu', container='/bin/victim')
def migration_killed_about_resume(t, killed):
    """criu: nobody knows whether the container runs there, until somebody has looked. The container: it never will."""
    with MovingContainer(t) as m:
        # criu reads such a configuration twice, and then runs its script twice.
        m.program(t.path('script'), f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = pre-resume ] || exit 0\n'
                  f'[ ! -e {m.control}/reached ] || exit 0\n'
                  f': >{m.control}/reached\n[ "$(cat {m.control}/order)" = go ]\n')
        m.program(t.path('criu.conf'), f'action-script {t.path("script")}\n')
        edit(m.traveller.there, annotations={'org.criu.config': t.path('criu.conf')})
        run = m.start(err=t.path('err'))
        m.reached(run)
        m.kill(m.b, killed)
        if killed == 'criu':
            wait(lambda: 'they stay frozen here' in read_text(t.path('err')), 'word of the doubt')
            m.traveller.stands_still()
            os.symlink('running', m.images('told'))
            os.rename(m.images('told'), m.images('verdict'))
            m.ends_in(run, 'b')
        else:
            m.order('go')
            m.ends_in(run, 'a')
            m.traveller.verdict('a')


@case
def migration_restore_fails_runc(t):
    """A warm one, and a plain one after it. The container goes on, and can be moved when that is mended."""
    with MovingContainer(t) as m:
        t.run('mv', f'{m.traveller.there}/config.json', t.path('aside'))
        with open(t.path('aside')) as file:
            wrong = json.load(file)
        wrong['mounts'] = [mount for mount in wrong['mounts'] if mount['destination'] != m.traveller.dir]
        with open(f'{m.traveller.there}/config.json', 'w') as file:
            json.dump(wrong, file)
        run = m.start()
        m.ends_in(run, 'a')
        check('runc restore failed at the destination' in run.err, f'it says {run.err}')
        check('web' not in m.b.run(['runc', 'list']), 'the second host has a container')
        t.run('mv', t.path('aside'), f'{m.traveller.there}/config.json')
        m.again()


@case
def migration_refused_runc(t):
    """A runtime that runs another criu, which would end the container without asking."""
    with MovingContainer(t) as m:
        run = m.migrate('--runtime', f'runc --criu {CRIU}', code=1)
        check('has not run the criu first in its PATH' in run.err, f'it says {run.err}')
        m.traveller.only_in('a')
        m.again()


@case
def manual_migrate_runc(t):
    """What docs/containers.md tells to do: every byte is right afterwards."""
    t.need('runc', 'iptables')
    writer = Writer(t.mkdir('data'))
    here, there = bundles(t, writer.command, t.root_of(('writer', WRITER)), 'web')
    with Hosts(t.dir) as both:
        both.b.run(['mount', '--bind', there, here])
        text = t.commands('runc, on another machine')
        text = text.replace('/var/lib/migrations', t.path('migrations')).replace(' b:', f' --rsh "{t.path("ssh")}" b:')
        with open(t.path('ssh'), 'w') as file:
            file.write(f'#!/bin/sh\nhost=$1\nshift\nexec {" ".join(both.rsh)} "$host" '
                       f'"PAGESCAN_CRIU={CRIU} PATH={t.path("bin")}:\\$PATH $*"\n')
        os.chmod(t.path('ssh'), 0o755)
        os.mkdir(t.path('migrations'))
        with open(t.path('walk.err'), 'w') as err:
            steps = both.a.popen(['sh', '-ex', '-c', text], cwd=t.dir, stdout=err, stderr=err,
                                 env={**os.environ, 'PAGESCAN_CRIU': CRIU})
        check(not steps.wait(TIMEOUT), f'the walk-through: {read_text(t.path("walk.err"))[-600:]}')
        check('web' not in both.a.run(['runc', 'list']), 'the first host still has the container')
        writer.verdict(lambda: both.b.run(['runc', 'kill', 'web', 'TERM']))
        both.b.run(['runc', 'delete', '--force', 'web'])
