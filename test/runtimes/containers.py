# SPDX-License-Identifier: GPL-2.0-only
"""What the cases share: the launcher first in PATH, containers whose root is made of this machine's programs, and the
two programs that run in them: the demo's writer, which verifies every byte itself, and redis-server.

A case is a function that takes a Test. It runs as process 1 of namespaces of its own (see run); its containers' control
groups lie below one group, which the runner removes.
"""

import functools
import glob
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, 'test', 'failure'), os.path.join(ROOT, 'test', 'move')]
import kit  # noqa: E402
from kit import BUILD, CRIU, PAGESCAN, Failure, Skip, check, read_text, stats  # noqa: E402

PROGRAMS = os.path.join(BUILD, 'test', 'runtimes')
WRITER = os.path.join(PROGRAMS, 'writer')
TIMEOUT = 120  # of one command, on a machine that has much else to do
wait = functools.partial(kit.wait, timeout=TIMEOUT)
PAGE = 4096
DUMP = ''  # instead of --pre-dump
MIB = 1 << 20
# The program that Debian's redis-tools and redis-server both install, each under other names.
REDIS = ('/usr/bin/redis-server', '/usr/bin/redis-check-rdb')
BARE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
# What default profiles of runtimes deny and the tracker needs.
DENIED = ['userfaultfd', 'ptrace', 'process_vm_readv', 'process_vm_writev', 'pidfd_getfd', 'kcmp', 'pidfd_open']


class Test:
    """One case on its way: everything lies in self.dir."""

    def __init__(self, directory, cgroup, launcher=True):
        self.dir, self.cgroup = directory, cgroup
        self.hybrid = os.path.exists('/sys/fs/cgroup/freezer')
        os.environ.update(PATH=BARE_PATH, TMPDIR=self.mkdir('tmp'))
        os.environ.pop('PAGESCAN_CRIU', None)
        if launcher:
            os.environ['PATH'] = f'{self.launcher()}:{BARE_PATH}'

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    @staticmethod
    def need(*programs):
        for program in programs:
            if not shutil.which(program):
                raise Skip(f'this machine has no {program}')

    def mkdir(self, *parts):
        os.makedirs(self.path(*parts), exist_ok=True)
        return self.path(*parts)

    def launcher(self):
        """A directory with what `make install LAUNCHERDIR=` puts there, as `criu`. A runtime hands on nothing but PATH,
        so where the tests' criu is is told in a script before it."""
        directory = self.mkdir('bin')
        with open(f'{directory}/criu', 'w') as file:
            file.write(f'#!/bin/sh\nexport PAGESCAN_CRIU={CRIU}\nexec {PROGRAMS}/launcher "$@"\n')
        os.chmod(f'{directory}/criu', 0o755)
        os.chmod(f'{PROGRAMS}/launcher', 0o755)
        os.symlink(PAGESCAN, f'{directory}/pagescan')
        return directory

    def run(self, *command, code=0, **how):
        """What it printed. A container's standard streams are never files of the host."""
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, errors='replace', timeout=TIMEOUT, cwd=self.dir, **how)
        check(result.returncode == code or code is None,
              f'{" ".join(command)} exited with {result.returncode}, not {code}: {result.stderr.strip()[-600:]}')
        return result.stdout + result.stderr

    def use_cgroup2(self):
        """Control groups of version 2 alone, also on a machine that has both."""
        if self.hybrid and os.path.exists('/sys/fs/cgroup/freezer'):
            self.run('umount', '--lazy', '/sys/fs/cgroup')
            self.run('mount', '-t', 'cgroup2', 'none', '/sys/fs/cgroup')

    @staticmethod
    def commands(title):
        """What docs/containers.md tells to do under that title, up to the next one."""
        text = read_text(os.path.join(ROOT, 'docs', 'containers.md'))
        section = re.search(rf'^### {re.escape(title)}$(.*?)(?=^##|\Z)', text, re.M | re.S)
        commands = re.findall(r'^    (.*)$', section.group(1), re.M) if section else []
        check(commands, f'docs/containers.md has no commands under "{title}"')
        return '\n'.join(commands)

    def walk_through(self, title, change=lambda text: text):
        """Run that."""
        # Those that leave a container running must not hold the pipes in which output would be read.
        with open(self.path('walk-through.log'), 'w+') as log:
            done = subprocess.run(['sh', '-ex', '-c', change(self.commands(title))], stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, timeout=TIMEOUT, cwd=self.dir)
            log.seek(0)
            check(not done.returncode, f'walk-through of {title}: {log.read()[-600:]} {errors_in(self.dir)}')

    def root_of(self, *programs):
        """A root directory with these programs, each a name and where it is here, and the libraries that they need."""
        root = self.path('rootfs')
        if os.path.exists(root):
            return root
        for directory in ('proc', 'sys', 'dev', 'tmp', 'etc', 'data', 'bin'):
            self.mkdir('rootfs', directory)
        for name, program in programs:
            shutil.copy(program, f'{root}/bin/{name}')
            told = subprocess.run(['ldd', program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            for library in re.findall(r'(/\S+) \(0x', told):
                os.makedirs(root + os.path.dirname(library), exist_ok=True)
                shutil.copy(library, root + library)
        return root


class Writer:
    """The demo's writer, seen from outside by the page that it shares."""

    SIZE = 64

    def __init__(self, directory, name='status', size=SIZE, rate=1000):
        self.command = ['/bin/writer', str(size), str(rate), f'/data/{name}']
        self.file, self.pages = os.path.join(directory, name), size * MIB // PAGE
        self.sequence, self.state, self.since, self.marked = [], 20, 0, 0

    def field(self, number):
        if not os.path.exists(self.file) or os.path.getsize(self.file) < PAGE:
            return 0
        with open(self.file, 'rb') as file:
            return struct.unpack_from('=Q', file.read(64), 8 * number)[0]

    def wait_for(self, writes):
        """It has written that many pages more."""
        before = self.field(0)
        wait(lambda: self.field(0) >= before + writes, 'writes')

    def mark(self):
        """A round is about to begin."""
        self.since, self.marked = self.marked, self.field(0)

    def touched(self):
        """Bytes that it has written since the round before the marked one began."""
        until = self.field(0)
        while len(self.sequence) < until:
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            self.sequence.append((self.state >> 33) % self.pages)
        return len(set(self.sequence[self.since:until])) * PAGE

    def verdict(self, kill):
        """Have it verify every byte by itself, and end."""
        self.wait_for(200)
        writes = self.field(0)
        kill()
        wait(lambda: self.field(3), 'verdict')
        check(self.field(1) == self.pages and not self.field(2), f'{self.field(2)} of {self.field(1)} pages are wrong')
        check(self.field(0) >= writes, 'it is not the process of before')


class Redis:
    """redis-server with keys that a client overwrites at random; the client knows what each has to hold."""

    KEYS, VALUE = 8000, 4000
    OPTIONS = ['--port', '0', '--unixsocket', '/data/redis.sock', '--save', '', '--dir', '/data']

    def __init__(self, directory, seed=1):
        self.command = ['/bin/redis-server', *self.OPTIONS]
        self.address = os.path.join(directory, 'redis.sock')
        self.versions, self.random = {}, random.Random(seed)
        self.writes, self.stopping, self.thread, self.error = 0, False, None, None

    @staticmethod
    def program():
        for path in REDIS:
            if os.path.exists(path):
                return path
        raise Skip('there is no redis-server: Debian has it in redis-tools and redis-server')

    def connect(self):
        def answers():
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(TIMEOUT)
            try:
                client.connect(self.address)
            except (FileNotFoundError, ConnectionRefusedError):
                client.close()
                return None
            return client, client.makefile('rb')
        return wait(answers, 'answer of redis-server')

    @staticmethod
    def ask(client, *words):
        sock, replies = client
        message = b'*%d\r\n' % len(words)
        for word in words:
            message += b'$%d\r\n%s\r\n' % (len(word), word)
        sock.sendall(message)
        line = replies.readline()
        if line[:1] == b'$':
            size = int(line[1:])
            return replies.read(size + 2)[:-2] if size >= 0 else None
        check(line[:1] in b'+:', f'redis-server says {line}')
        return line[1:].strip()

    def value(self, key):
        return random.Random(key << 32 | self.versions[key]).randbytes(self.VALUE)

    def put(self, client, key):
        self.versions[key] = self.versions.get(key, 0) + 1
        check(self.ask(client, b'SET', b'%d' % key, self.value(key)) == b'OK', 'SET was refused')
        self.writes += 1

    def fill(self):
        client = self.connect()
        for key in range(self.KEYS):
            self.put(client, key)

    def start(self):
        """A client that writes until stop()."""
        def load():
            try:
                client = self.connect()
                while not self.stopping:
                    self.put(client, self.random.randrange(self.KEYS))
                    time.sleep(0.001)
                client[0].close()
            except (OSError, Failure) as error:
                self.error = error
        self.stopping, self.thread = False, threading.Thread(target=load, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping = True
        self.thread.join()
        check(not self.error, f'the client was disturbed: {self.error}')

    def verify(self):
        client = self.connect()
        check(int(self.ask(client, b'DBSIZE')) == self.KEYS, 'keys are missing')
        wrong = [key for key in range(self.KEYS) if self.ask(client, b'GET', b'%d' % key) != self.value(key)]
        check(not wrong, f'{len(wrong)} of {self.KEYS} values are wrong, that of {wrong[:1]} first')


class Container:
    """A container of runc or crun, whose commands are the same ones. Its bundle is a directory of its name."""

    def __init__(self, t, runtime, command, root, name='c', start=True, **linux):
        self.t, self.runtime, self.name, self.bundle = t, runtime, name, t.mkdir(name)
        self.options = ['--manage-cgroups-mode=ignore'] if runtime == 'crun' and t.hybrid else []
        self.configure(command, root, linux)
        if start:
            self.quietly('run', '--detach', '--bundle', self.bundle, name)

    def configure(self, command, root, linux):
        """As the runtime would have it, with a root that is read-only, a /data that is not, and a strict profile."""
        path = f'{self.bundle}/config.json'
        if os.path.exists(path):
            os.unlink(path)
        self.t.run(self.runtime, 'spec', '--bundle', self.bundle)
        with open(path) as file:
            spec = json.load(file)
        spec['process'].update(args=command, terminal=False)
        spec['root'] = {'path': root, 'readonly': True}
        spec['mounts'].append({'destination': '/data', 'type': 'bind', 'source': self.t.mkdir('data'),
                               'options': ['rbind']})
        spec['linux'].update(cgroupsPath=f'{self.t.cgroup}/{self.name}', seccomp={
            'defaultAction': 'SCMP_ACT_ALLOW',
            'syscalls': [{'names': DENIED, 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 1}]}, **linux)
        with open(path, 'w') as file:
            json.dump(spec, file)

    def quietly(self, *args):
        """A command that leaves the container running: it must not hold the pipes in which the output would be read."""
        log = self.t.path('runtime.log')
        with open(os.devnull, 'r+') as null:
            done = subprocess.run([self.runtime, '--log', log, *args], stdin=null, stdout=null, stderr=null,
                                  timeout=TIMEOUT, cwd=self.t.dir)
        check(not done.returncode, f'{self.runtime} {args[0]} exited with {done.returncode}: {read_text(log)[-600:]} '
              f'{errors_in(self.t.path("images"))}')

    def __call__(self, *args, **how):
        return self.t.run(self.runtime, *args, **how)

    def pid(self):
        return json.loads(self('state', self.name))['pid']

    def images(self, number):
        return self.t.mkdir('images', self.name, number)

    def round(self, number, parent=None, *options):
        """A pre-dump, or DUMP."""
        args = [*self.options, '--image-path', self.images(number), *(options or ['--pre-dump'])]
        if parent:
            args += '--parent-path', f'../{parent}'
        try:
            self('checkpoint', *filter(None, args), self.name)
        except Failure as failure:
            raise Failure(f'{failure} {errors_in(self.images(number))}') from None
        return Round(self.images(number))

    def restore(self, number):
        self.quietly('restore', '--detach', *self.options, '--image-path', self.images(number), '--bundle', self.bundle,
                     self.name)

    def kill(self):
        self('kill', self.name, 'TERM')

    def delete(self):
        self('delete', '--force', self.name)


def errors_in(directory):
    """What criu says in its logs there."""
    return ' '.join(line for path in glob.glob(f'{directory}/**/*.log', recursive=True)
                    for line in read_text(path).splitlines() if 'Error (' in line)[-600:]


class Round:
    """What a round has left in its directory: images, criu's numbers and, where a runtime asks for it, its log."""

    def __init__(self, images):
        self.log = read_text(f'{images}/dump.log')
        self.bytes = sum(map(os.path.getsize, glob.glob(f'{images}/pages-*.img')))
        self.clean = stats.read(f'{images}/stats-dump')['pages_skipped_parent']
        check('pagescan: BUG' not in self.log, 'pagescan: BUG')

    def lines(self):
        return [line.split('pagescan: ', 1)[1] for line in self.log.splitlines() if 'pagescan: ' in line]

    def said(self, *reasons):
        for reason in reasons:
            check(any(reason in line for line in self.lines()), f'no "{reason}" in the log, but: {self.lines()}')
        return self

    def full(self, *reasons):
        check(not self.clean, f'{self.clean} pages were left to the parent')
        return self.said(*reasons)

    def holds_all(self, size):
        check(self.bytes >= size, f'the images hold {self.bytes} bytes of pages only')

    def holds_at_most(self, touched):
        """What was written since the round before, and little more."""
        check(self.bytes <= 1.2 * touched + 2 * MIB,
              f'the images hold {self.bytes} bytes of pages, {touched} were touched: {self.lines()}')
        check(self.clean, f'no page was left to the parent: {self.lines()}')


def written(pid):
    """Bytes of a process's own memory that the kernel tells as written since the last round, or new."""
    command = [PAGESCAN, 'scan', '--required', 'written', '--anyof', 'present,swapped', '--excluded', 'file', '--json',
               str(pid)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)['bytes']['matched']
