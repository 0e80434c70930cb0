# SPDX-License-Identifier: GPL-2.0-only
"""Clients of a program that holds items, each in some version, and their record of what it has to hold.

How a program is spoken to is a session: `get(items)` tells the version of each, having seen that its data are those of
that version; `put(versions)` makes each item one of the version given, all of them or none. Both raise ConnectionError
when the connection has ended.
"""

import hashlib
import http.client
import random
import socket
import subprocess
import threading
import time

from kit import Failure, check

ANSWER_S = 120
PAUSE_S = 0.002  # between two acts of a client


def payload(item, version):
    """Two to eighteen KB, other ones for each version."""
    name = f'{item} {version} '
    return (name + hashlib.sha256(name.encode()).hexdigest() * (32 + item % 256)).encode()


def version_of(item, data):
    words = data.split(b' ', 2)
    check(len(words) == 3 and words[1].isdigit(), f'item {item} is {data[:60]}')
    version = int(words[1])
    check(data == payload(item, version), f'item {item} is not what it is in version {version}: {data[:100]}')
    return version


def request(*words):
    """In redis's protocol."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b''.join([b'*%d\r\n' % len(words), *(b'$%d\r\n%s\r\n' % (len(word), word) for word in words)])


class Store:
    """A session of the text protocol of memcached."""

    def __init__(self, address, port):
        self.socket = socket.create_connection((address, port), ANSWER_S)
        self.socket.settimeout(ANSWER_S)
        self.file = self.socket.makefile('rb')

    def line(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise ConnectionError('no answer')
        return line[:-2]

    def bytes(self, size):
        data = self.file.read(size + 2)
        if len(data) < size + 2:
            raise ConnectionError('half an answer')
        return data[:-2]

    def put(self, versions):
        self.ask(*(b'set %d 0 0 %d\r\n%s\r\n' % (item, len(data), data)
                   for item, version in versions.items() for data in [payload(item, version)]))
        for item in versions:
            check((answer := self.line()) == b'STORED', f'item {item} is not stored: {answer}')

    def get(self, items):
        self.ask(*(b'get %d\r\n' % item for item in items))
        return {item: version_of(item, self.value(item)) for item in items}

    def value(self, item):
        words = self.line().split()
        check(len(words) == 4 and words[:2] == [b'VALUE', b'%d' % item], f'item {item}: {words}')
        data = self.bytes(int(words[3]))
        check(self.line() == b'END', f'item {item} has no end')
        return data

    def ask(self, *requests):
        self.socket.sendall(b''.join(requests))

    def close(self):
        self.file.close()
        self.socket.close()


class Redis(Store):
    def put(self, versions):
        self.ask(*(request('SET', item, payload(item, version)) for item, version in versions.items()))
        for item in versions:
            check(self.answer() == b'OK', f'item {item} is not stored')

    def get(self, items):
        self.ask(*(request('GET', item) for item in items))
        return {item: version_of(item, self.answer()) for item in items}

    def answer(self):
        head = self.line()
        check(head[:1] in b'+:$', f'redis says {head}')
        return self.bytes(int(head[1:])) if head[:1] == b'$' else head[1:]

    def command(self, *words):
        self.ask(request(*words))
        return self.answer()


class Web:
    """Files, put and got by HTTP. It counts its requests, and those that were answered."""

    def __init__(self, address, port):
        self.connection = http.client.HTTPConnection(address, port, timeout=ANSWER_S)
        self.connection.connect()
        self.asked = self.answered = 0

    def ask(self, method, path, body=None):
        self.asked += 1
        try:
            self.connection.request(method, path, body)
            response = self.connection.getresponse()
            data = response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        check(response.status in (200, 201, 204), f'{method} {path}: {response.status}')
        self.answered += 1
        return data

    def put(self, versions):
        for item, version in versions.items():
            self.ask('PUT', f'/items/{item}', payload(item, version))

    def get(self, items):
        return {item: version_of(item, self.ask('GET', f'/items/{item}')) for item in items}

    def close(self):
        self.connection.close()


class Sql:
    """A client program of a database; a table t of items: id, v (the version), p (the data)."""

    UPDATE = None  # what makes the next version of rows, with their data

    def __init__(self, command, **popen):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen)
        try:
            self.ask('SELECT 1;')
        except ConnectionError:
            self.close()
            raise

    def ask(self, sql):
        """One answer a line, the last one being the word that we add."""
        self.process.stdin.write(f"{sql}\nSELECT 'done';\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != 'done\n':
            if not line:
                raise ConnectionError('the client has ended')
            lines.append(line.rstrip('\n').split('\t'))
        return lines

    def put(self, versions):
        self.ask(f'BEGIN; {self.UPDATE.format(items=",".join(map(str, versions)))}; COMMIT;')

    def get(self, items):
        got = {}
        for row, version, md5 in self.ask(f'SELECT id, v, MD5(p) FROM t WHERE id IN ({",".join(map(str, items))});'):
            got[int(row)] = int(version)
            check(md5 == self.md5(int(row), int(version)), f'row {row} has not the data of version {version}')
        check(len(got) == len(items), f'{len(got)} rows of {len(items)}')
        return got

    @staticmethod
    def md5(row, version):
        """Of the data that UPDATE makes."""
        raise NotImplementedError

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Client(threading.Thread):
    """Changes items that nobody else changes, some much more often than others, and reads others of them.

    A connection that has ended is taken up again wherever the program answers. Whether the change that was under way
    then was made nobody knows, but it was made or not: that is looked at, and recorded.
    """

    def __init__(self, program, items):
        super().__init__(daemon=True)
        self.program, self.items, self.ending, self.error = program, items, False, None
        self.random = random.Random(f'{items} {program.changes}')

    def pick(self, skew):
        return self.items[int(len(self.items) * self.random.random() ** skew)]

    def change(self):
        items = sorted({self.pick(4) for _ in range(self.program.AT_ONCE)})
        before = {item: self.program.versions[item] for item in items}
        after = {item: version + 1 for item, version in before.items()}
        try:
            self.session.put(after)
        except OSError:
            self.program.lost += 1
            got = self.resume(items)
            check(got in (before, after), f'of a change of {before} it made {got}')
            after = got
        self.program.versions.update(after)
        self.program.changes += 1

    def look(self):
        item = self.pick(1)
        try:
            got = self.session.get([item])[item]
        except OSError:
            got = self.resume([item])[item]
        check(got == self.program.versions[item], f'item {item} has version {got}, not {self.program.versions[item]}')

    def act(self):
        self.change()
        self.look()

    def resume(self, items):
        """A new session, and the versions that it tells. While processes are ended one by one that may end, too."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            self.session.close()
            self.session = self.program.connect()
            try:
                return self.session.get(items)
            except OSError as error:
                check(time.monotonic() < deadline, f'no answer within {ANSWER_S} s: {error!r}')

    def run(self):
        try:
            self.session = self.program.connect()
            while not self.ending:
                self.act()
                time.sleep(PAUSE_S)
            self.session.close()
        except (Failure, OSError) as error:
            self.error = error

    def end(self):
        self.ending = True
        self.join(ANSWER_S)
        check(not self.is_alive(), 'a client does not end')
        if self.error:
            raise self.error
