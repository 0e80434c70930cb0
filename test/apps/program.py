# SPDX-License-Identifier: GPL-2.0-only
"""A program that is taken through rounds: how it is started, loaded by clients, looked at and ended.

What a program is like is told by a subclass. It runs in a place, which has `popen` and `pid` like a host of test/move/hosts.py, and is found at one of the addresses.
"""

import contextlib
import glob
import os
import re
import shutil
import subprocess
import time

from client import ANSWER_S, Client, Store
from kit import ROOT, Skip, check, read_text, wait

TREE = os.path.join(ROOT, 'build/apps')  # packages that scripts/setup has unpacked
PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'programs')
PORT = 7000
START_S = 60


def find(name):
    """A program of this machine or of that tree."""
    found = [path for pattern in ('usr/sbin', 'usr/bin', 'usr/lib/postgresql/*/bin')
             for path in glob.glob(os.path.join(TREE, pattern, name))]
    if path := found[0] if found else shutil.which(name):
        return path
    raise Skip(f'scripts/setup could not install {name}')


class Program:
    CLIENTS, ITEMS, AT_ONCE = 3, 800, 1  # ITEMS of each client
    SESSION = Store
    VERSION = 'name', 'command', '--version'  # what it is called, and what tells its version
    ENDS = 0  # its exit status after a SIGTERM
    CRIU = ()  # options that criu needs for it
    WAYS = 'stopped', 'live', 'moved'

    def __init__(self, directory, way):
        self.dir, self.way, self.addresses = directory, way, []
        self.versions = dict.fromkeys(range(self.CLIENTS * self.ITEMS), 1)
        self.changes = self.lost = self.verified = self.held = 0
        self.clients = []
        libraries = glob.glob(os.path.join(TREE, 'usr/lib/*-linux-gnu'))
        self.environment = {**os.environ, 'LD_LIBRARY_PATH': ':'.join(libraries)}
        os.mkdir(directory)
        self.prepare()

    def name(self):
        name, command, *words = self.VERSION
        out = subprocess.run([find(command), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env=self.environment).stdout
        return f'{name} {re.search(r"[0-9]+[.][0-9.]*[0-9]", out)[0]}'

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def prepare(self):
        """What there has to be before it is started, where both hosts see it."""

    def command(self):
        raise NotImplementedError

    def session(self, address):
        return self.SESSION(address, PORT)

    def connect(self):
        """A session, wherever it answers."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            for address in self.addresses:
                try:
                    return self.session(address)
                except OSError as error:
                    check(time.monotonic() < deadline, f'no session within {ANSWER_S} s: {error!r}')
            time.sleep(0.02)

    def start(self, place, addresses):
        self.addresses = addresses
        self.process = place.popen(['sh', '-c', 'exec setsid "$@" </dev/null >"$0" 2>&1', self.path('log'),
                                    *self.command()], cwd=self.dir, env=self.environment)
        self.pid = place.pid(self.process)
        wait(self.answers, f'an answer ({self.path("log")})', START_S)
        self.started()
        session = self.connect()
        self.fill(session)
        session.close()
        self.held = self.memory()

    def answers(self):
        check(self.process.poll() is None, f'it has ended: {read_text(self.path("log"))[-1000:]}')
        try:
            self.session(self.addresses[0]).close()
        except OSError:
            return False
        return True

    def started(self):
        """It runs: is it what it is meant to be?"""

    def fill(self, session):
        for items in self.portions():
            session.put({item: self.versions[item] for item in items})

    def portions(self):
        """All items, so many at a time that nobody waits for long."""
        items = list(self.versions)
        return (items[start:start + 100] for start in range(0, len(items), 100))

    def begin_load(self):
        self.clients = [Client(self, range(number * self.ITEMS, (number + 1) * self.ITEMS))
                        for number in range(self.CLIENTS)]
        for client in self.clients:
            client.start()

    def end_load(self):
        for client in self.clients:
            client.end()

    def verify(self):
        """All that it holds, against the record. No client is there."""
        session = self.connect()
        for items in self.portions():
            got = session.get(items)
            wrong = [(item, got[item], self.versions[item]) for item in items if got[item] != self.versions[item]]
            check(not wrong, f'not the version of the record (item, version, record): {wrong[:3]}')
        self.verified += len(self.versions)
        self.inspect(session)
        session.close()

    def inspect(self, session):
        """What else it can be asked about its state."""

    def finish(self):
        """It has ended."""

    def memory(self):
        """What it and its descendants hold, in bytes."""
        pids, total = [self.process.pid], 0
        for pid in pids:
            with contextlib.suppress(OSError):  # it has ended
                total += sum(int(line.split()[1]) << 10 for line in read_text(f'/proc/{pid}/smaps_rollup').splitlines()
                             if line.startswith('Pss:'))
                for task in os.listdir(f'/proc/{pid}/task'):
                    pids += map(int, read_text(f'/proc/{pid}/task/{task}/children').split())
        return total


def run(*command, **how):
    """A program that prepares something."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **how)
    check(not done.returncode, f'{" ".join(command[:2])}: {done.stdout[-500:]}')
