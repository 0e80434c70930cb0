# SPDX-License-Identifier: GPL-2.0-only
"""What the cases of migrations share: a process that is to move, `pagescan migrate`, and who runs afterwards, and where.

The process is test/failure/victim.c in the role "sole": in its end it says whether it alone has run all the time, as it
counts what it writes both in its memory and in a file that both hosts share.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading

from hosts import Hosts
from kit import CRIU, PAGESCAN, PROGRAMS, Failure, Run, check, read_text, wait

AS_INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'as_init.py')
RELAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'relay.py')
SCRIPT = '''#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = {stage} ] || exit 0
: >{control}/reached
[ "$(cat {control}/order)" = go ]
'''


def stat_of(pid):
    """State and parent of a process; where there is none, or no longer, that it is dead (X)."""
    words = read_text(f'/proc/{pid}/stat').rpartition(')')[2].split()
    return (words[0], int(words[1])) if words else ('X', 0)


class Traveller:
    """victim.c, somewhere. `wrap`: what starts it; `init`: as process 1 of namespaces, with its directory as the root."""

    def __init__(self, hosts, directory, *roles, wrap=(), init=False):
        self.hosts, self.dir, self.touches = hosts, directory, 0
        self.size = 2 if 'child' in roles else 1
        self.root_dir = '/' if init else directory
        os.mkdir(directory)
        if init:
            shutil.copy(os.path.join(PROGRAMS, 'victim-static'), self.path('victim'))
            command = ['python3', AS_INIT, directory, '/victim']
        else:
            command = ['sh', '-c', 'exec setsid "$@" </dev/null >/dev/null 2>"$0"', self.path('err'), *wrap,
                       os.path.join(PROGRAMS, 'victim')]
        self.process = hosts.a.popen([*command, self.root_dir, 'sole', *roles])
        wait(lambda: self.process.poll() is None and len(self.records()) == self.size and all(self.records()),
             f'start of the victim ({read_text(self.path("err"))})')
        self.pid = hosts.a.pid_of(self.root('a'))

    def path(self, name):
        return os.path.join(self.dir, name)

    def named(self):
        """What `pagescan migrate` calls it by."""
        return '-t', str(self.pid)

    def records(self):
        """How often each of its processes has been touched; None where it is not there yet."""
        with contextlib.suppress(FileNotFoundError):
            with open(self.path('status'), 'rb') as file:
                records = [*struct.iter_unpack('=iIQ', file.read(32))]
            return [(touches, writes) if pid else None for pid, touches, writes in records[:self.size]]
        return []

    def places(self):
        """Pids, as we see them, of its processes in each host."""
        nets = {os.readlink(f'/proc/{host.init.pid}/ns/net'): host.name for host in (self.hosts.a, self.hosts.b)}
        found = {name: [] for name in nets.values()}
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError):
                words = read_text(f'/proc/{pid}/cmdline').split('\0')
                name = nets.get(os.readlink(f'/proc/{pid}/ns/net'))
                if name and words[0].endswith('/victim') and words[1] == self.root_dir and stat_of(pid)[0] not in 'ZX':
                    found[name].append(int(pid))
        return found

    def root(self, name):
        """The process whose parent is none of the others."""
        pids = self.places()[name]
        return next(pid for pid in pids if stat_of(pid)[1] not in pids)

    def only_in(self, name):
        """It runs there, whole, and nowhere else."""
        other = {'a': 'b', 'b': 'a'}[name]
        self.process.poll()
        wait(lambda: not self.places()[other], f'its end in {other}')
        places = self.places()
        check(len(places[name]) == self.size, f'not whole in {name}: {places}')
        for pid in places[name]:
            wait(lambda pid=pid: stat_of(pid)[0] not in 'Tt', f'{name}: that process {pid} runs')
        self.touch(name)
        return self

    def touch(self, name):
        self.touches += 1
        os.kill(self.root(name), signal.SIGUSR1)
        wait(lambda: all(touches == self.touches for touches, _ in self.records()), f'answer of the process in {name}')

    def stands_still(self):
        """In the first host, and does not run in any other."""
        places = self.places()
        check(len(places['a']) == self.size, f'it is not whole in a: {places}')
        # Let go by criu, a task is on its way to the signal that holds it.
        wait(lambda: all(stat_of(pid)[0] in 'Tt' for pid in places['a']), 'its standstill in a')

    def verdicts(self):
        return [read_text(self.path(f'verdict.{number}')) for number in range(self.size)]

    def verify(self, name):
        """Let it verify its memory, and go on."""
        self.touch(name)
        os.kill(self.root(name), signal.SIGUSR2)
        right = [f'PASS {self.touches}'] * self.size
        wait(lambda: self.verdicts() == right or any(text.startswith('FAIL') for text in self.verdicts()),
             f'verdict in {name}')
        check(self.verdicts() == right, f'it says {self.verdicts()} in {name}')

    def verdict(self, name):
        """Let it verify its memory, and end."""
        pids = self.places()[name]
        os.kill(self.root(name), signal.SIGTERM)
        wait(lambda: self.process.poll() is not None and all(stat_of(pid)[0] == 'X' for pid in pids), 'its end')
        check(self.verdicts() == [f'PASS {self.touches}'] * self.size,
              f'it says {self.verdicts()} after {self.touches} touches')

    def huge_kib(self, name):
        text = ''.join(read_text(f'/proc/{pid}/smaps') for pid in self.places()[name])
        return sum(map(int, re.findall('AnonHugePages: *([0-9]+)', text)))


class Moving(Hosts):
    """Two hosts, a Traveller in the first, and what moves it."""

    def __init__(self, t, *roles, **how):
        super().__init__(t.dir)
        self.t, self.roles, self.how, self.control = t, roles, how, t.path('control')

    def __enter__(self):
        super().__enter__()
        self.remote = self.t.path('pagescan')
        self.program(self.remote, f'#!/bin/sh\nPAGESCAN_CRIU={CRIU} exec {PAGESCAN} "$@"\n')
        os.mkdir(self.control)
        os.mkfifo(os.path.join(self.control, 'order'))
        self.traveller = self.travel()
        return self

    def program(self, path, text):
        with open(path, 'w') as file:
            file.write(text)
        os.chmod(path, 0o755)

    def travel(self, name='victim', *roles):
        return Traveller(self, self.t.path(name), *(roles or self.roles), **self.how)

    def images(self, *names):
        return self.t.path('images', *names)

    def start(self, *args, point=None, stage=None, rsh=None, remote=None, images=None, traveller=None, work='work',
              criu=(), host=None, err=None, **how):
        """`pagescan migrate`. point: where relay.py holds it; stage: where a script of criu's does."""
        rsh = rsh or self.rsh
        if point:
            rsh = ['python3', RELAY, self.control, point, *rsh]
        if stage:
            self.program(self.t.path('script'), SCRIPT.format(stage=stage, control=self.control))
            criu = ['--action-script', self.t.path('script'), *criu]
        if work:
            args = '--work-dir', self.t.path(work), *args
        # Whatever the machine is busy with: a pause that short is not what is tested.
        limit = [] if '--downtime-limit' in args else ['--downtime-limit', '60000']
        command = [PAGESCAN, 'migrate', *limit, *(traveller or self.traveller).named(), f'b:{images or self.images()}',
                   '--rsh', ' '.join(rsh), '--remote-pagescan', remote or self.remote,
                   *args, *(['--', *criu] if criu else [])]
        process = (host or self.a).popen(command, stdout=subprocess.PIPE, text=True,
                                         stderr=open(err, 'w') if err else subprocess.PIPE, start_new_session=True,
                                         env={**self.t.environment, 'TMPDIR': self.t.dir}, **how)
        return Run(process)

    def migrate(self, *args, code=0, **how):
        return self.start(*args, **how).finish().expect(code)

    def reached(self, run):
        wait(lambda: os.path.exists(os.path.join(self.control, 'reached')) or run.process.poll() is not None,
             'the point')
        if run.process.poll() is not None:
            raise Failure(f'ended with {run.finish().code} before the point: {run.err}')

    def order(self, what):
        with open(os.path.join(self.control, 'order'), 'w') as order:
            order.write(what)

    def find(self, host, *words):
        """The pids, as we see them, of processes of a host whose command line has all these words; the oldest first."""
        net = os.readlink(f'/proc/{host.init.pid}/ns/net')
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError):
                line = read_text(f'/proc/{pid}/cmdline').split('\0')
                if os.readlink(f'/proc/{pid}/ns/net') == net and all(word in line for word in words) \
                        and stat_of(pid)[0] not in 'ZX':
                    found.append(int(pid))
        return sorted(found)

    def kill(self, host, *words):
        """The first one of those; children of criu's have its command line, too."""
        pids = wait(lambda: self.find(host, *words), f'{" ".join(words)} in {host.name}')
        os.kill(pids[0], signal.SIGKILL)
        wait(lambda: stat_of(pids[0])[0] in 'ZX', f'end of {" ".join(words)}')

    def moved(self, traveller=None):
        """It runs there and not here, and its memory is right."""
        traveller = traveller or self.traveller
        traveller.only_in('b').verdict('b')

    def stayed(self, traveller=None):
        """It runs here and not there, as if nothing had been, and its memory is right."""
        traveller = traveller or self.traveller
        traveller.only_in('a')
        traveller.verdict('a')

    def again(self):
        """What failed once works in another directory."""
        self.traveller.only_in('a')
        self.migrate(images=self.t.path('images-again'), work='work-again')
        self.moved()

    def home(self, name, *args):
        """From b back to a. b has the key to nothing: the rsh asks us, and we run its command in a."""
        def serve():
            client, _ = listener.accept()
            with client:
                command, files, *_ = socket.recv_fds(client, 65536, 3)
                process = self.a.popen(['sh', '-c', command.decode()], **dict(zip(('stdin', 'stdout', 'stderr'), files)))
                for file in files:
                    os.close(file)
                client.send(bytes([process.wait() & 255]))

        self.program(self.t.path('to-a'), f'#!{sys.executable}\nimport socket, sys\n'
                     f'with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:\n'
                     f'    sock.connect("socket")\n'
                     f'    socket.send_fds(sock, [" ".join(sys.argv[2:]).encode()], [0, 1, 2])\n'
                     f'    sys.exit(sock.recv(1)[0])\n')
        os.chdir(self.t.dir)  # an address has no more than 107 bytes
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind('socket')
            listener.listen()
            threading.Thread(target=serve, daemon=True).start()
            run = self.start(*args, host=self.b, cwd=self.t.dir, rsh=[self.t.path('to-a')], images=self.t.path(name),
                             work=f'work-{name}')
            run.finish().expect(0)
        os.unlink('socket')
        return run

    def untracked(self):
        out = self.a.run([PAGESCAN, 'status'])
        check(str(self.traveller.pid) not in out.split(), 'it is tracked')

    def warm(self, images='images'):
        log = read_text(self.t.path(images, 'last/restore.log'))
        check(log and 'a plain restore' not in log, f'not warm: {log}')
        check(not os.path.exists(self.t.path(images, 'last/restore-plain.log')), 'a plain restore followed')
