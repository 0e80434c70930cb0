# SPDX-License-Identifier: GPL-2.0-only
"""Migrations whose pages go over connections of their own (--tcp)."""

import contextlib
import ctypes
import os
import socket
import subprocess

from hosts import libc
from kit import case, check, variants, wait
from moving import Moving
from peers import frame, hello, migrate, number, rsh, stayed

TCP = '--tcp=10.77.0.2:7000', '--jobs', '2'


def listening(host):
    """Ports that somebody listens at in this host, but sshd's."""
    lines = [line.split() for name in ('tcp', 'tcp6') for line in
             host.run(['cat', f'/proc/net/{name}']).splitlines()[1:]]
    return {int(words[1].rpartition(':')[2], 16) for words in lines if words[3] == '0A'} - {22}


def pidfd_getfd(pidfd, fd):
    got = libc.syscall(438, pidfd, fd, 0)
    if got < 0:
        raise OSError(ctypes.get_errno(), 'pidfd_getfd')
    return got


def connections(run):
    """The sockets of `pagescan migrate` for pages: ours now, too."""
    found = []
    pidfd = os.pidfd_open(run.process.pid)
    for name in os.listdir(f'/proc/{run.process.pid}/fd'):
        with contextlib.suppress(OSError):
            if not os.readlink(f'/proc/{run.process.pid}/fd/{name}').startswith('socket:'):
                continue
            sock = socket.socket(fileno=pidfd_getfd(pidfd, int(name)))
            if sock.family == socket.AF_INET and sock.getpeername() == ('10.77.0.2', 7000):
                found.append(sock)
    os.close(pidfd)
    check(len(found) == 2, f'it has {len(found)} connections')
    return found


@case
def tcp_is_used_for_pages_alone(t):
    """And nobody listens when it is."""
    with Moving(t, 'child') as m:
        run = m.start(*TCP, point='down.JOINED.1')
        m.reached(run)
        check(not listening(m.b), f'b listens at {listening(m.b)}')
        m.order('go')
        run.finish(60).expect(0)
        check(not run.err, f'it says {run.err}')
        m.warm()
        m.moved()


@case
def tcp_to_the_host_itself(t):
    """As ssh knows it, and that is one that only ssh knows here."""
    with Moving(t) as m:
        run = m.migrate('--tcp', code=1)
        check('cannot find the address of b' in run.err and '--tcp=ADDRESS' in run.err, f'it says {run.err}')
        check(not listening(m.b), 'b listens')
        with open(t.path('hosts-file'), 'w') as file:
            file.write('10.77.0.2 b\n')
        m.a.run(['mount', '--bind', t.path('hosts-file'), '/etc/hosts'])
        m.migrate('--tcp', images=t.path('images-2'), work='work-2')
        m.moved()


# They are there already when the destination begins to listen, as it does so for a while only.
CONNECT = 'import socket, sys, time\nsys.stdin.readline()\n'
SILENT = CONNECT + '''socks = [socket.create_connection(("10.77.0.2", 7000)) for _ in range(80)]
print("connected", flush=True)
time.sleep(1000)'''
RUDE = CONNECT + '''sock = socket.create_connection(("10.77.0.2", 7000))
sock.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(sock.recv(1000), flush=True)'''
OPENSSL = 'read line; exec openssl s_client -connect 10.77.0.2:7000 -tls1_3 </dev/null 2>&1 '


@variants(silent=(['python3', '-c', SILENT], 'connected'), rude=(['python3', '-c', RUDE], ''),
          without_a_key=(['sh', '-c', OPENSSL], 'unexpected eof'),
          with_another_key=(['sh', '-c', f'{OPENSSL} -psk_identity pagescan -psk {"00" * 32}'], 'unexpected eof'))
def tcp_stranger_is(t, how):
    """Whoever connects without the key, and whatever they say, is refused and disturbs nobody."""
    command, answer = how
    with Moving(t, 'child') as m:
        stranger = m.a.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        run = m.start(*TCP, point='down.LISTENS.1')
        m.reached(run)
        check(listening(m.b) == {7000}, f'b listens at {listening(m.b)}')
        stranger.stdin.write('now\n')
        stranger.stdin.close()
        said = stranger.stdout.readline() if answer == 'connected' else stranger.stdout.read()
        check(answer in said and 'refused' not in said, f'it is told {said}')
        m.order('go')
        run.finish(60).expect(0)
        check(not run.err, f'it says {run.err}')
        m.moved()


@variants(nobody=(False, 'Connection refused'), somebody=(True, 'has proved to be the destination'))
def tcp_port_where_is(t, how):
    """Not the destination: nothing is frozen, and it says what to do."""
    there, text = how
    t.start_victim()
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        if not there:
            server.close()
        elif not os.fork():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    client.send(b'220 welcome\r\n')
                    client.recv(1000)
                    client.close()
            os._exit(0)
        with open(t.path('said'), 'wb') as file:
            file.write(hello() + frame('LISTENS', number(port, 4)))
        ear = rsh(t, f'#!/bin/sh\ncat {t.path("said")}\nexec cat >/dev/null\n')
        run = migrate(t, '--rsh', ear, '--tcp=127.0.0.1')
        stayed(t, run, 'cannot begin at there', text)
        check(there or '--tcp=:PORT' in run.err, f'it says {run.err}')


@case
def tcp_port_in_use(t):
    with Moving(t) as m:
        m.b.popen(['python3', '-c', 'import socket, time\nsock = socket.create_server(("10.77.0.2", 7000))\n'
                   'open("/tmp/there", "w")\ntime.sleep(1000)'])
        wait(lambda: m.b.run(['ls', '/tmp']), 'somebody who listens')
        run = m.migrate(*TCP, code=1)
        check('Address already in use' in run.err, f'it says {run.err}')
        m.untracked()
        m.again()


@variants(port=['--tcp=:http'], large=['--tcp=:65536'], address=['--tcp=no-such-host.invalid'])
def tcp_wrong(t, options):
    with Moving(t) as m:
        run = m.start(*options).finish(60)
        check(run.code in (1, 2) and '--tcp' in run.err, f'it ended with {run.code}: {run.err}')
        check(not listening(m.b), 'b listens')
        m.stayed()


def cut(run):
    """One of two connections ends."""
    socks = connections(run)
    socks[1].shutdown(socket.SHUT_RDWR)
    for sock in socks:
        sock.close()


# `file`: the destination waits for the file that the pages are of, so that what was sent is still on its way.
@variants(file='up.FILE.1', file_end='up.FILE_END.1', between_rounds='down.TAKEN.1')
def tcp_cut_at(t, point):
    """In the rounds: the processes go on here, as if nothing had been."""
    with Moving(t, 'child') as m:
        run = m.start(*TCP, point=point)
        m.reached(run)
        cut(run)
        m.order('go')
        run.finish(60).expect(1)
        check('--tcp' in run.err, f'it says {run.err}')
        m.untracked()
        m.again()


@case
def tcp_cut_in_the_last_dump(t):
    """The processes are frozen: they go on here."""
    with Moving(t, 'child') as m:
        run = m.start(*TCP, stage='pre-dump')
        m.reached(run)
        cut(run)
        m.order('go')
        run.finish(60).expect(1)
        check('not moved, the processes go on here' in run.err and '--tcp' in run.err, f'it says {run.err}')
        m.stayed()


@variants(ready='down.READY.1', go='up.GO.1', running='down.RUNNING.1')
def tcp_cut_when_all_is_there(t, point):
    """Nobody needs it any more."""
    with Moving(t, 'child') as m:
        run = m.start(*TCP, point=point)
        m.reached(run)
        cut(run)
        m.order('go')
        run.finish(60).expect(0)
        m.moved()
