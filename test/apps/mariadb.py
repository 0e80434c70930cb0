# SPDX-License-Identifier: GPL-2.0-only
"""MariaDB, on a disk of its own. Where it is stopped for rounds it has direct I/O and native AIO (libaio); a process
with those has no live rounds, so there it has neither. Beside the clients that write one reads the whole table again and
again, and more than the buffer pool holds, so that reads are under way all the time.
"""

import hashlib
import os
import subprocess

from client import Client, Sql
from kit import Skip, check, read_text
from program import PORT, Program, find, run

OPTIONS = ['--user=root', f'--port={PORT}', '--bind-address=0.0.0.0', '--skip-name-resolve', '--skip-grant-tables',
           '--innodb-buffer-pool-size=48M',
           # Else it reserves terabytes of addresses, which criu maps writable for a moment when it restores them.
           '--innodb-buffer-pool-size-max=48M', '--innodb-random-read-ahead=1']
DIRECT = ['--innodb-flush-method=O_DIRECT', '--innodb-use-native-aio=1', '--innodb-linux-aio=aio']
BUFFERED = ['--innodb-flush-method=fsync', '--innodb-log-file-buffering=1', '--innodb-use-native-aio=0']


class Session(Sql):
    DATA = "REPEAT(SHA2(CONCAT(id, '-', v), 256), 240)"
    UPDATE = f'UPDATE t SET v = v + 1, p = {DATA} WHERE id IN ({{items}})'

    @staticmethod
    def md5(row, version):
        return hashlib.md5(hashlib.sha256(f'{row}-{version}'.encode()).hexdigest().encode() * 240).hexdigest()


class Reader(Client):
    def act(self):
        try:
            got = self.session.ask('SELECT COUNT(*) FROM t WHERE LENGTH(p) = 15360;')
        except OSError:
            self.resume(self.items)
        else:
            check(got == [[str(len(self.program.versions))]], 'rows are missing')


class Mariadb(Program):
    VERSION = 'MariaDB', 'mariadbd', '--version'
    ITEMS, AT_ONCE = 2000, 4
    CRIU = '--file-locks',
    # It locks a file that both hosts share. There criu would wait for the lock (F_SETLKW) that the source still has.
    WAYS = 'stopped', 'live'

    def prepare(self):
        self.made = False
        disk, data = self.path('disk'), self.path('data')
        with open(disk, 'wb') as file:
            file.truncate(1 << 30)
        os.mkdir(data)
        run(find('mkfs.ext4'), '-q', '-F', disk)
        if subprocess.run(['mount', '-o', 'loop', disk, data]).returncode:
            raise Skip('needs loop devices')
        run(find('mariadb-install-db'), '--no-defaults', '--user=root', f'--datadir={data}/database',
            '--auth-root-authentication-method=normal', '--skip-test-db')

    def command(self):
        data = self.path('data')
        return [find('mariadbd'), '--no-defaults', *OPTIONS, *(DIRECT if self.way == 'stopped' else BUFFERED),
                f'--datadir={data}/database', f'--socket={data}/socket', f'--pid-file={data}/pid']

    def session(self, address):
        command = [find('mariadb'), '--no-defaults', '--protocol=tcp', '-h', address, '-P', str(PORT), '-uroot', '-N',
                   '-B', '-n', '--skip-reconnect', *(['d'] if self.made else [])]
        with open(self.path('clients.log'), 'a') as log:
            return Session(command, stderr=log)

    def started(self):
        """It is what it is meant to be: a program with an AIO context and files opened with O_DIRECT, or without."""
        pid = self.process.pid
        flags = [int(line.split()[1], 8) for fd in os.listdir(f'/proc/{pid}/fdinfo')
                 for line in read_text(f'/proc/{pid}/fdinfo/{fd}').splitlines() if line.startswith('flags:')]
        got = '/[aio]' in read_text(f'/proc/{pid}/maps'), any(flag & os.O_DIRECT for flag in flags)
        check(got == ((True, True) if self.way == 'stopped' else (False, False)), f'AIO and O_DIRECT: {got}')

    def fill(self, session):
        session.ask('CREATE DATABASE d; USE d; '
                    'CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL, p MEDIUMBLOB NOT NULL); '
                    "INSERT INTO t SELECT seq, 1, REPEAT(SHA2(CONCAT(seq, '-', 1), 256), 240) "
                    f'FROM seq_0_to_{len(self.versions) - 1};')
        self.made = True

    def begin_load(self):
        super().begin_load()
        self.clients.append(Reader(self, range(1)))
        self.clients[-1].start()

    def inspect(self, session):
        verdict = session.ask('CHECK TABLE t EXTENDED;')
        check(verdict == [['d.t', 'check', 'status', 'OK']], f'CHECK TABLE: {verdict}')

    def finish(self):
        run('umount', self.path('data'))
