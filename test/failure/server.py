# SPDX-License-Identifier: GPL-2.0-only
"""Rounds whose pages go to a page server, and its failures."""

import os
import shutil
import socket

from chains import OLDER, begin, end
from kit import CRIU, Failure, Skip, case, check, variants, wait

ADDRESS = '127.0.0.1'


def free_port():
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def listens(port):
    """Told by the kernel: a connection would be the one that the server waits for."""
    with open('/proc/net/tcp') as table:
        return any(line.split()[1].endswith(f':{port:04X}') and line.split()[3] == '0A' for line in list(table)[1:])


class Server:
    """A plain `criu page-server` for one round, in a directory of its own."""

    def __init__(self, t, images, parent=None):
        self.t, self.images, self.port = t, f'server-{images}', free_port()
        os.makedirs(t.path(self.images), exist_ok=True)
        args = ['--prev-images-dir', f'../server-{parent}'] if parent else []
        self.run = t.start(CRIU, 'page-server', '-D', t.path(self.images), '--address', ADDRESS, '--port',
                           str(self.port), '-v4', '-o', t.path(f'{self.images}.log'), *args)
        wait(lambda: listens(self.port), 'page server')
        self.options = '--page-server', '--address', ADDRESS, '--port', str(self.port)


def served(t, action, images, parent=None, *args, server_parent='as the client', code=0, **how):
    """One round whose pages go to a server."""
    server = Server(t, images, parent if server_parent == 'as the client' else server_parent)
    run = getattr(t, action)(images, parent, *server.options, *args, code=code, **how)
    server.run.finish()
    if not code:
        server.run.expect(0)
    return run


def merge(t, *names):
    """Restore wants the server's images beside the client's."""
    for name in names:
        shutil.copytree(t.path(f'server-{name}'), t.path(name), symlinks=True, dirs_exist_ok=True,
                        ignore=lambda _, found: {'parent'} & set(found))


def begin_served(t):
    t.start_victim()
    served(t, 'pre_dump', '1').full().silent()
    t.victim.touch()


def end_without_2(t):
    """Round 2 has failed, after its reset."""
    t.victim.unharmed()
    served(t, 'pre_dump', '3', '1').full(OLDER)
    t.victim.touch()
    served(t, 'dump', '4', '3').incremental()
    merge(t, '1', '3', '4')
    t.restore('4')


def served_chain(t, mode):
    t.start_victim()
    served(t, 'pre_dump', '1', None, '--pre-dump-mode', mode).full().silent()
    t.victim.touch()
    served(t, 'pre_dump', '2', '1', '--pre-dump-mode', mode).incremental()
    t.victim.touch()
    served(t, 'dump', '3', '2').incremental()
    merge(t, '1', '2', '3')
    t.restore('3')


@case
def page_server(t):
    served_chain(t, 'splice')


@case
def page_server_in_read_mode(t):
    """criu splices its buffer into the socket and fills it anew before the pages are sent (criu/page-xfer.c,
    page_xfer_predump_pages): up to 4.2 its own images are wrong, tracking or not."""
    try:
        served_chain(t, 'read')
    except Failure as reason:
        raise Skip(f'criu sends wrong pages in read mode to a page server ({reason})') from None


@case
def page_server_and_older_parent(t):
    begin_served(t)
    served(t, 'pre_dump', '2', '1').incremental()
    t.victim.touch()
    served(t, 'dump', '3', '1').full(OLDER)
    merge(t, '1', '2', '3')
    t.restore('3')


@case
def page_server_without_the_parent(t):
    """Only the client has one: the server says so, and criu sends everything."""
    begin_served(t)
    served(t, 'pre_dump', '2', '1', server_parent=None).full()
    t.victim.touch()
    served(t, 'dump', '3', '2').incremental()
    merge(t, '2', '3')
    t.restore('3')


@case
def local_dump_on_pages_of_a_server(t):
    """criu looks for a parent's pagemap beside it, finds none and dumps all, and nothing is omitted."""
    begin_served(t)
    t.dump('2', '1').full()
    merge(t, '1')
    t.restore('2')


@case
def page_server_with_a_parent_that_the_client_lacks(t):
    """criu refuses, with or without the plugin."""
    begin_served(t)
    served(t, 'pre_dump', '2', None, server_parent='1', code=1)
    t.victim.unharmed()
    served(t, 'dump', '3', '1').incremental()
    merge(t, '1', '3')
    t.restore('3')


@variants(pre_dump='pre_dump', dump='dump')
def no_page_server(t, action):
    """Nobody listens: criu fails before it touches the process."""
    begin(t)
    options = '--page-server', '--address', ADDRESS, '--port', str(free_port())
    plain = t.criu('dump', 'plain', None, *options, plain=True, code=None)
    check(plain.code, 'plain criu does not mind that there is no server')
    t.criu(action.replace('_', '-'), '2', '1', '--track-mem', *options, code=plain.code)
    t.victim.unharmed()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


@variants(before_reset='openat|clear_refs|1', after_reset='write|Pre-dumping tasks|1')
def page_server_killed(t, strike):
    """The client fails after the reset; the round is not complete."""
    begin_served(t)
    server = Server(t, '2', '1')
    run = t.start_criu('pre-dump', '2', '1', *server.options, strike=f'{strike}|stop').wait_stopped()
    server.run.kill()
    run.go_on().expect(1)
    end_without_2(t)


@case
def page_server_without_space(t):
    begin_served(t)
    os.mkdir(t.path('server-2'))
    t.run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', t.path('server-2')).expect(0)
    served(t, 'pre_dump', '2', '1', code=1)
    end_without_2(t)
