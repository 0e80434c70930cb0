# SPDX-License-Identifier: GPL-2.0-only
"""store.py PORT: a store that speaks as much of memcached's protocol as its client does, a thread for each connection.
Items lie in a dictionary and in a table of an SQLite database in memory; a reader gets what both have.
"""

import signal
import socketserver
import sqlite3
import sys
import threading

items = {}
database = sqlite3.connect(':memory:', check_same_thread=False)
database.execute('CREATE TABLE t (name TEXT PRIMARY KEY, data BLOB)')
lock = threading.Lock()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while words := self.rfile.readline().split():
            name = words[1].decode()
            if words[0] == b'set':
                data = self.rfile.read(int(words[4]) + 2)
                if len(data) < int(words[4]) + 2:
                    return
                with lock:
                    items[name] = data[:-2]
                    with database:
                        database.execute('INSERT OR REPLACE INTO t VALUES (?, ?)', (name, data[:-2]))
                self.wfile.write(b'STORED\r\n')
            elif words[0] == b'get':
                with lock:
                    data = items[name]
                    row = database.execute('SELECT data FROM t WHERE name = ?', (name,)).fetchone()
                answer = data if row == (data,) else b'dictionary and database differ'
                self.wfile.write(b'VALUE %s 0 %d\r\n%s\r\nEND\r\n' % (words[1], len(answer), answer))
            else:
                with lock:
                    verdict = database.execute('PRAGMA integrity_check').fetchone()[0]
                self.wfile.write(verdict.encode() + b'\r\n')


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Server(('', int(sys.argv[1])), Handler).serve_forever()
