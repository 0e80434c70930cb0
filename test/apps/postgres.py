# SPDX-License-Identifier: GPL-2.0-only
"""PostgreSQL: a process for each client, buffers in memory that they share, and a SysV segment, which wants an IPC
namespace of its own. Its data are files, in which pages have checksums.
"""

import hashlib
import os
import subprocess

import kit
from client import Sql
from program import PORT, PROGRAMS, Program, find, run

LIBRARY = os.path.join(kit.BUILD, 'test', 'apps', 'uid.so')
OPTIONS = ['-c', 'listen_addresses=*', '-c', f'port={PORT}', '-c', 'unix_socket_directories=',
           '-c', 'shared_buffers=32MB', '-c', 'dynamic_shared_memory_type=mmap', '-c', 'autovacuum_naptime=1s', '-c', 'fsync=off']


class Session(Sql):
    UPDATE = ("UPDATE t SET v = v + 1, p = repeat(encode(sha256((id || ' ' || v + 1)::bytea), 'hex'), 120) "
              "WHERE id IN ({items})")

    @staticmethod
    def md5(row, version):
        return hashlib.md5(hashlib.sha256(f'{row} {version}'.encode()).hexdigest().encode() * 120).hexdigest()


class Postgres(Program):
    VERSION = 'PostgreSQL', 'postgres', '--version'
    ITEMS, AT_ONCE = 1000, 4

    def prepare(self):
        self.environment['LD_PRELOAD'] = LIBRARY
        self.made = False
        data = self.path('data')
        os.mkdir(data)
        os.chown(data, 65534, 65534)
        run(find('initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-k', '-N', '--locale=C', '--encoding=UTF8',
            env=self.environment)
        with open(os.path.join(data, 'pg_hba.conf'), 'a') as file:
            file.write('host all all 0.0.0.0/0 trust\n')

    def command(self):
        return ['unshare', '--ipc', find('postgres'), '-D', self.path('data'), *OPTIONS]

    def session(self, address):
        command = [find('psql'), '-X', '-q', '-A', '-t', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-h', address,
                   '-p', str(PORT), '-U', 'postgres', '-d', 'd' if self.made else 'postgres']
        with open(self.path('clients.log'), 'a') as log:
            return Session(command, env=self.environment, stderr=log)

    def fill(self, session):
        session.ask('CREATE DATABASE d;')
        self.made = True
        session = self.connect()
        session.ask('CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL, p TEXT NOT NULL);')
        session.ask('ALTER TABLE t ALTER p SET STORAGE EXTERNAL;')
        session.ask(f"INSERT INTO t SELECT id, 0, '' FROM generate_series(0, {len(self.versions) - 1}) AS id;")
        session.put(self.versions)
        session.close()

    def inspect(self, session):
        """By the index, and without it by parallel processes."""
        for settings in 'SET enable_seqscan = off', 'SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0':
            got = session.ask(f'{settings}; SELECT SUM(v) FROM t; RESET ALL;')
            kit.check(got == [[str(sum(self.versions.values()))]], f'the sum of versions is {got}')
