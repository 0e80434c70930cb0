# SPDX-License-Identifier: GPL-2.0-only
"""Rounds asked for over criu's RPC, as container runtimes do."""

import os
import socket

from chains import OLDER
from kit import PAGESCAN, TIMEOUT, Run, case, check

# criu's RPC (criu/rpc.proto), as much of it as is needed: numbers of requests and of fields.
DUMP, PRE_DUMP, FEATURE_CHECK, SINGLE_PRE_DUMP = 1, 4, 9, 13
TYPE, OPTS, KEEP_OPEN, FEATURES = 1, 2, 4, 5
IMAGES_DIR_FD, PID, LOG_LEVEL, LOG_FILE, PARENT, TRACK_MEM = 1, 2, 9, 10, 14, 15
SUCCESS, FEATURES_THERE, MEM_TRACK = 2, 8, 1


def varint(value):
    out = b''
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def encode(*fields):
    """A protobuf message of numbers, strings and messages."""
    out = b''
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    """Its fields, the last of each number; only what encode() makes."""
    fields, at = {}, 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
    while at < len(data):
        key = take()
        if key & 7 == 2:
            size = take()
            fields[key >> 3], at = data[at:at + size], at + size
        else:
            fields[key >> 3] = take()
    return fields


class Service:
    """`pagescan criu swrk`: one criu process that serves one connection."""

    def __init__(self, t):
        self.t = t
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(TIMEOUT)
        self.run = t.start(PAGESCAN, 'criu', 'swrk', str(theirs.fileno()), pass_fds=[theirs.fileno()])
        theirs.close()

    def ask(self, *fields):
        self.sock.send(encode(*fields))
        return decode(self.sock.recv(65536))

    def round(self, request, images, parent=None):
        t = self.t
        os.makedirs(t.path(images), exist_ok=True)
        directory = os.open(t.path(images), os.O_DIRECTORY)
        opts = [(IMAGES_DIR_FD, directory), (PID, t.victim.pid), (LOG_LEVEL, 4), (LOG_FILE, 'rpc.log'), (TRACK_MEM, 1)]
        if parent:
            opts.append((PARENT, f'../{parent}'))
        answer = self.ask((TYPE, request), (OPTS, encode(*opts)))
        os.close(directory)
        run = Run(self.run.process, t.path(images), t.path(images, 'rpc.log'))
        check(answer.get(SUCCESS), f'{answer} {run.errors()}')
        return run

    def end(self):
        self.sock.close()
        self.run.finish()


def has_tracking(service):
    """Is it told that memory can be tracked?"""
    answer = service.ask((TYPE, FEATURE_CHECK), (FEATURES, encode((MEM_TRACK, 1))))
    return answer[SUCCESS] and decode(answer[FEATURES_THERE])[MEM_TRACK]


@case
def rpc_feature_check(t):
    service = Service(t)
    check(has_tracking(service), 'no memory tracking')
    service.end()


@case
def rpc_rounds(t):
    """A service for each round, as runc starts them."""
    t.start_victim()
    for images, parent in (('1', None), ('2', '1'), ('3', '2')):
        service = Service(t)
        run = service.round(DUMP if images == '3' else SINGLE_PRE_DUMP, images, parent)
        service.end()
        if parent:
            run.incremental()
        else:
            run.full().silent()
        if images != '3':
            t.victim.touch()
    t.victim.wait_dumped()
    t.restore('3')


@case
def rpc_rounds_of_one_service(t):
    t.start_victim()
    service = Service(t)
    service.round(PRE_DUMP, '1').full().silent()
    t.victim.touch()
    second = service.round(PRE_DUMP, '2', '1').incremental()
    t.victim.touch()
    # From 4.2 on criu's numbers go on through the rounds of a service.
    third = service.round(PRE_DUMP, '3', '1').said(OLDER)
    check(third.clean() in (0, second.clean()), f'{third.clean()} pages were left to the parent')
    t.victim.touch()
    fourth = service.round(DUMP, '4', '3').incremental()
    check(fourth.clean() > third.clean(), 'no page was left to the parent')
    service.end()
    t.victim.wait_dumped()
    t.restore('4')
