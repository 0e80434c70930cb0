# SPDX-License-Identifier: GPL-2.0-only
"""podman, over runc if nothing else is said: pre-checkpoints, checkpoints with previous, restores, and archives."""

import glob
import json
import os
import shutil
import tarfile
import time

from containers import MIB, WRITER, Redis, Writer, check, read_text, written
from kit import case

# What podman cannot do on machines that lack rights, and what makes it leave the machine's own containers alone.
STORAGE = '''[storage]
driver = "vfs"
graphroot = "{dir}/storage"
runroot = "/run/storage"
'''
CONFIGURATION = '''[containers]
netns = "none"
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "{runtime}"
tmp_dir = "/run/libpod"
[engine.runtimes]
{runtime} = ["{program}"]
'''
# crun that finds control groups of both versions has to be told to leave them alone, which podman cannot do.
HYBRID_CRUN = '''#!/bin/sh
for word; do
	shift
	set -- "$@" "$word"
	case $word in checkpoint | restore) set -- "$@" --manage-cgroups-mode=ignore ;; esac
done
exec {crun} "$@"
'''


class Podman:
    """One container, of an image that is made of a root directory; its /data is the machine's /srv."""

    def __init__(self, t, root, command, start=True, runtime='runc'):
        self.t = t
        t.need('podman', runtime, 'iptables')
        program = shutil.which(runtime)
        if runtime == 'crun' and t.hybrid:
            t.use_cgroup2()
            with open(t.path('crun'), 'w') as file:
                file.write(HYBRID_CRUN.format(crun=program))
            program = t.path('crun')
            os.chmod(program, 0o755)
        t.run('mount', '--bind', t.mkdir('data'), '/srv')
        for name, text in (('storage.conf', STORAGE), ('containers.conf', CONFIGURATION)):
            with open(t.path(name), 'w') as file:
                file.write(text.format(dir=t.dir, runtime=runtime, program=program))
        os.environ.update(CONTAINERS_STORAGE_CONF=t.path('storage.conf'), CONTAINERS_CONF=t.path('containers.conf'),
                          PODMAN_IGNORE_CGROUPSV1_WARNING='1')
        t.run('tar', '-C', root, '-cf', t.path('root.tar'), '.')
        self('import', '--change', f'CMD {json.dumps(command)}', t.path('root.tar'), 'web')
        if start:
            self('run', '--detach', '--name', 'web', '--volume', '/srv:/data', 'localhost/web')

    def __call__(self, *args):
        return self.t.run('podman', *args)

    def checkpoint(self, archive, *options):
        self('container', 'checkpoint', '--keep', '--compress', 'none', '--export', self.t.path(archive), *options,
             'web')
        return Archive(self.t, archive)

    def pid(self):
        return int(self('inspect', '--format', '{{.State.Pid}}', 'web'))

    def forget(self):
        self('rm', '--force', 'web')


class Archive:
    """What an exported checkpoint holds, and what criu said when it was made."""

    def __init__(self, t, name):
        with tarfile.open(t.path(name)) as archive:
            self.bytes = sum(member.size for member in archive if os.path.basename(member.name).startswith('pages-'))
        logs = glob.glob(t.path('storage', '*-containers', '*', 'userdata', '**', 'dump.log'), recursive=True)
        check(logs, 'criu has left no log')
        self.log = read_text(max(logs, key=os.path.getmtime))

    def holds_at_most(self, touched):
        check(self.bytes <= 1.2 * touched + 2 * MIB,
              f'the archive holds {self.bytes} bytes of pages, {touched} were touched: {self.log[-600:]}')

    def holds_all(self, size):
        check(self.bytes >= size, f'the archive holds {self.bytes} bytes of pages only')


def start_writer(t, start=True):
    writer = Writer(t.mkdir('data'))
    container = Podman(t, t.root_of(('writer', WRITER)), writer.command, start)
    if start:
        writer.wait_for(100)
    return writer, container


def checkpoint_writer(writer, container):
    writer.mark()
    container.checkpoint('pre.tar', '--pre-checkpoint').holds_all(Writer.SIZE * MIB)
    writer.wait_for(500)
    writer.mark()
    container.checkpoint('last.tar', '--with-previous').holds_at_most(writer.touched())


def end(writer, container):
    writer.verdict(lambda: container('kill', '--signal', 'TERM', 'web'))
    container.forget()


@case
def writer_podman(t):
    """With default settings, default seccomp profile included: pre-checkpoint, checkpoint with previous, restore."""
    writer, container = start_writer(t)
    checkpoint_writer(writer, container)
    container('container', 'restore', 'web')
    end(writer, container)


@case
def archives_podman(t):
    """The container is gone; both archives make it anew."""
    writer, container = start_writer(t)
    checkpoint_writer(writer, container)
    container.forget()
    container('container', 'restore', '--import-previous', t.path('pre.tar'), '--import', t.path('last.tar'))
    end(writer, container)


@case
def redis_podman(t, runtime='runc'):
    """redis-server under load, made anew from both archives, with all that was written."""
    redis = Redis(t.mkdir('data'))
    container = Podman(t, t.root_of(('redis-server', Redis.program())), redis.command, runtime=runtime)
    redis.fill()
    redis.start()
    container.checkpoint('pre.tar', '--pre-checkpoint').holds_all(redis.KEYS * redis.VALUE)
    time.sleep(0.3)
    redis.stop()
    touched = written(container.pid())
    container.checkpoint('last.tar', '--with-previous').holds_at_most(touched)
    container.forget()
    container('container', 'restore', '--import-previous', t.path('pre.tar'), '--import', t.path('last.tar'))
    redis.verify()


@case
def untracked_podman(t):
    """A container that cannot be tracked has full rounds, and criu's log, where podman keeps it, says why."""
    with open('/run/pagescan', 'w'):
        pass  # where the keeper's directory has to be
    writer, container = start_writer(t)
    for archive, option in (('pre.tar', '--pre-checkpoint'), ('last.tar', '--with-previous')):
        done = container.checkpoint(archive, option)
        done.holds_all(Writer.SIZE * MIB)
        check('cannot be tracked, its memory is dumped in full' in done.log, 'the log does not say why')
    container('container', 'restore', 'web')
    end(writer, container)


@case
def manual_podman(t):
    """What docs/containers.md tells to do."""
    writer, container = start_writer(t, start=False)
    t.walk_through('podman')
    writer.wait_for(100)
    container.forget()
    t.walk_through('podman, on another machine')
    end(writer, container)
