# SPDX-License-Identifier: GPL-2.0-only
"""Programs that hold items in memory: two that are made for it, and one of ours for each of three languages."""

import os
import sys

from client import Redis
from kit import check, wait
from program import PORT, PROGRAMS, Program, find, run


class RedisServer(Program):
    """It saves in the background, by a child, when a load begins: the child's memory is part of the first rounds."""

    VERSION = 'redis', 'redis-check-rdb', '--version'
    SESSION = Redis

    def prepare(self):
        # Debian's redis-tools has the program under another name; it goes by what it is called.
        os.symlink(find('redis-check-rdb'), self.path('redis-server'))

    def command(self):
        return [self.path('redis-server'), '--port', str(PORT), '--bind', '0.0.0.0', '--protected-mode', 'no',
                '--save', '', '--dir', self.dir, '--rdb-key-save-delay', '500']

    def begin_load(self):
        session = self.connect()
        session.command('BGSAVE')
        session.close()
        super().begin_load()

    def inspect(self, session):
        """It goes on saving, also what it holds now."""
        def saved():
            return b'rdb_bgsave_in_progress:0' in session.command('INFO', 'persistence')

        wait(saved, 'end of a save')
        session.command('BGSAVE')
        wait(saved, 'end of a save')
        check(b'rdb_last_bgsave_status:ok' in session.command('INFO', 'persistence'), 'it could not save')
        run(find('redis-check-rdb'), self.path('dump.rdb'))


class Memcached(Program):
    VERSION = 'memcached', 'memcached', '--version'
    def command(self):
        return [find('memcached'), '-l', '0.0.0.0', '-p', str(PORT), '-U', '0', '-u', 'root', '-m', '256', '-t', '4']


class Python(Program):
    VERSION = 'python', 'python3', '--version'
    ITEMS = 500

    def command(self):
        return [sys.executable, os.path.join(PROGRAMS, 'store.py'), str(PORT)]

    def inspect(self, session):
        session.ask(b'check all\r\n')
        check((verdict := session.line()) == b'ok', f'the database says {verdict}')


class Node(Program):
    VERSION = 'node', 'node', '--version'
    ITEMS = 500

    def command(self):
        return [find('node'), os.path.join(PROGRAMS, 'store.js'), str(PORT)]


class Jvm(Program):
    VERSION = 'OpenJDK', 'java', '-version'
    ITEMS = 500
    ENDS = 143

    def prepare(self):
        run(find('javac'), '-d', self.dir, os.path.join(PROGRAMS, 'Store.java'))

    def command(self):
        # Else it maps a file in /tmp, to tell jps and jstat about itself: another host does not have that, and another
        # JVM removes it when no process has its pid, as while it is dumped.
        return [find('java'), '-Xmx128m', '-XX:+UseG1GC', '-XX:+UseTransparentHugePages',
                '-XX:+PerfDisableSharedMem', '-cp', self.dir, 'Store', str(PORT)]
