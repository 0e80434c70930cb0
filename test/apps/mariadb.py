# SPDX-License-Identifier: GPL-2.0-only
"""MariaDB with direct I/O and native AIO (libaio), on a disk of its own.

Clients write rows in transactions, each client its own ones, and keep the version of every row that was committed. One
more reads the whole table again and again, and more than the buffer pool holds, so that reads are under way all the time.
"""

import hashlib
import os
import random
import shutil
import subprocess
import threading

from kit import Failure, Skip, check, read_text, reap, wait

PROGRAMS = ['mariadbd', 'mariadb', 'mariadb-install-db', 'mkfs.ext4']
CLIENTS, ROWS = 3, 2000  # ROWS of each client
ROWS_IN_TRANSACTION = 4
# 15 KB a row: 90 MB.
PAYLOAD = "REPEAT(SHA2(CONCAT(id, '-', v), 256), 240)"
OPTIONS = ['--skip-networking', '--innodb-flush-method=O_DIRECT', '--innodb-use-native-aio=1', '--innodb-linux-aio=aio',
           '--innodb-buffer-pool-size=48M',
           # Else it reserves terabytes of addresses, which criu maps writable for a moment when it restores them.
           '--innodb-buffer-pool-size-max=48M', '--innodb-random-read-ahead=1']
START_S, ANSWER_S = 60, 120


def payload_md5(row, version):
    return hashlib.md5(hashlib.sha256(f'{row}-{version}'.encode()).hexdigest().encode() * 240).hexdigest()


class Client(threading.Thread):
    """A session; what it does until it is told to end comes from a subclass."""

    def __init__(self, app):
        super().__init__(daemon=True)
        self.app, self.ending, self.error = app, False, None

    def ask(self, sql):
        """One answer a line, the last one being the word that we add."""
        self.session.stdin.write(f"{sql}\nSELECT 'done';\n")
        self.session.stdin.flush()
        lines = []
        while (line := self.session.stdout.readline()) != 'done\n':
            check(line, f'a client lost its session: {sql}')
            lines.append(line.rstrip('\n'))
        return lines

    def run(self):
        self.session = self.app.client(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            while not self.ending:
                self.act()
        except (Failure, OSError) as error:
            self.error = error
        self.session.stdin.close()
        self.session.wait()

    def end(self):
        self.ending = True
        self.join(ANSWER_S)
        check(not self.is_alive(), 'a client does not end')
        if self.error:
            raise self.error


class Writer(Client):
    def __init__(self, app, number):
        super().__init__(app)
        self.first = number * ROWS
        self.random = random.Random(f'{number} {app.transactions}')

    def act(self):
        rows = self.random.sample(range(self.first, self.first + ROWS), ROWS_IN_TRANSACTION)
        names = ','.join(map(str, rows))
        self.ask(f'BEGIN; UPDATE t SET v = v + 1, p = {PAYLOAD} WHERE id IN ({names}); COMMIT;')
        for row in rows:
            self.app.versions[row] += 1
        self.app.transactions += 1
        row = rows[0]
        got = self.ask(f'SELECT v, MD5(p) FROM t WHERE id = {row};')
        check(got == [f'{self.app.versions[row]}\t{payload_md5(row, self.app.versions[row])}'],
              f'row {row} is {got}, not version {self.app.versions[row]}')


class Reader(Client):
    def act(self):
        check(self.ask('SELECT COUNT(*) FROM t WHERE LENGTH(p) = 15360;') == [f'{CLIENTS * ROWS}'], 'rows are missing')


class App:
    def __init__(self, directory):
        for program in PROGRAMS:
            if not shutil.which(program):
                raise Skip(f'needs {program}')
        self.disk, self.data = os.path.join(directory, 'disk'), os.path.join(directory, 'data')
        self.log = os.path.join(directory, 'log')
        self.socket = os.path.join(self.data, 'socket')
        self.versions = [1] * (CLIENTS * ROWS)
        self.transactions = self.verified = 0
        self.clients, self.made = [], False

    def client(self, *args, **popen):
        return subprocess.Popen(['mariadb', '--no-defaults', '-uroot', f'--socket={self.socket}', '-N', '-B', '-n', *args, *(['d'] if self.made else [])],
                                **popen)

    def sql(self, text):
        session = self.client('-e', text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = session.communicate(timeout=ANSWER_S)
        check(not session.returncode, f'{text}: {err}')
        return [line.split('\t') for line in out.splitlines()]

    def answers(self):
        check(self.is_running(), f'mariadbd ended, see {self.log}')
        return not self.client('-e', 'SELECT 1', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(ANSWER_S)

    def is_running(self):
        return read_text(f'/proc/{self.pid}/stat').rpartition(') ')[2][:1] not in ('', 'Z', 'X')

    def start(self):
        with open(self.disk, 'wb') as disk:
            disk.truncate(1 << 30)
        os.mkdir(self.data)
        subprocess.run(['mkfs.ext4', '-q', '-F', self.disk], check=True)
        if subprocess.run(['mount', '-o', 'loop', self.disk, self.data]).returncode:
            raise Skip('needs loop devices')
        database = os.path.join(self.data, 'database')
        with open(self.log, 'w') as log:
            subprocess.run(['mariadb-install-db', '--no-defaults', '--user=root', f'--datadir={database}',
                            '--auth-root-authentication-method=normal', '--skip-test-db'], stdout=log, stderr=log, check=True)
            server = subprocess.Popen(['mariadbd', '--no-defaults', '--user=root', f'--datadir={database}',
                                       f'--socket={self.socket}', f'--pid-file={self.data}/pid', *OPTIONS],
                                      cwd=self.data, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      start_new_session=True)
        server.returncode = 0  # reaped by pid
        self.pid = server.pid
        wait(self.answers, 'start of mariadbd', START_S)
        self.check_aio()
        rows = f'seq_0_to_{CLIENTS * ROWS - 1}'
        self.sql(f'CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL, p MEDIUMBLOB NOT NULL); '
                 f"INSERT INTO t SELECT seq, 1, REPEAT(SHA2(CONCAT(seq, '-', 1), 256), 240) FROM {rows};")
        self.made = True

    def check_aio(self):
        """It is what it is meant to be: a program with an AIO context and files opened with O_DIRECT."""
        check('/[aio]' in read_text(f'/proc/{self.pid}/maps'), 'mariadbd has no AIO context')
        flags = [int(line.split()[1], 8) for fd in os.listdir(f'/proc/{self.pid}/fdinfo')
                 for line in read_text(f'/proc/{self.pid}/fdinfo/{fd}').splitlines() if line.startswith('flags:')]
        check(any(flag & os.O_DIRECT for flag in flags), 'mariadbd has no file opened with O_DIRECT')

    def begin_load(self):
        self.clients = [Reader(self), *(Writer(self, number) for number in range(CLIENTS))]
        for client in self.clients:
            client.start()

    def end_load(self):
        for client in self.clients:
            client.end()

    def wait_dumped(self):
        reap(self.pid, 'end of the dumped mariadbd')

    def verify(self):
        wait(self.answers, 'an answer of the restored mariadbd', START_S)
        got = self.sql('SELECT id, v, MD5(p) FROM d.t ORDER BY id')
        check(len(got) == len(self.versions), f'{len(got)} rows, not {len(self.versions)}')
        for (row, version, md5), expected in zip(got, self.versions):
            check(int(version) == expected and md5 == payload_md5(row, version),
                  f'row {row} has version {version}, not {expected}, or not its data')
        verdict = self.sql('CHECK TABLE d.t EXTENDED')
        check(verdict == [['d.t', 'check', 'status', 'OK']], f'CHECK TABLE: {verdict}')
        self.verified += len(got)

    def detail(self):
        return f'{self.transactions} transactions, {self.verified} rows verified'

    def end(self):
        self.sql('SHUTDOWN')
        reap(self.pid, 'end of mariadbd')
        subprocess.run(['umount', self.data], check=True)
