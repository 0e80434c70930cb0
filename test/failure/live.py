# SPDX-License-Identifier: GPL-2.0-only
"""Rounds that do not stop the process (pagescan pre-dump, dump, watch): good chains, bad input, bad times."""

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from chains import NO_RECORD_OF_IT, OLDER
from kit import CRIU, PAGESCAN, case, check, read_text, reap, stats, variants, wait
from server import Server, listens, merge

NOTHING_LIVE = 'no task of the tree can be copied while it runs'


def empty(t, images):
    left = os.listdir(t.path(images)) if os.path.exists(t.path(images)) else []
    check(not left, f'{images} is not empty: {left}')


def untracked(t):
    check(str(t.victim.pid) not in t.pagescan('status').expect(0).out.split(), 'the victim is tracked')


def begin(t, *roles):
    t.start_victim(*roles)
    t.live('1').full().silent()
    t.victim.touch()


def end(t, parent):
    """The chain goes on, and restores right."""
    t.victim.unharmed()
    t.live('end-1', parent)
    t.victim.touch()
    t.live('end-2', 'end-1').incremental()
    t.victim.touch()
    t.dump('end-3', 'end-2').incremental()
    t.restore('end-3')


@variants(alone=[], of_two_processes=['child'])
def live_chain(t, roles):
    begin(t, *roles)
    t.live('2', '1').incremental()
    end(t, '2')


@case
def live_chain_of_many(t):
    begin(t)
    for number in range(2, 30):
        t.live(str(number), str(number - 1), '--jobs', '2').incremental()
        if number % 5 == 0:
            t.victim.touch()
    end(t, '29')


@case
def live_and_stopped_in_turn(t):
    begin(t)
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    t.live('3', '2').incremental()
    t.victim.touch()
    t.snapshot('4', '3').incremental()
    t.victim.touch()
    end(t, '4')


@case
def live_after_an_older_parent(t):
    begin(t)
    t.live('2', '1').incremental()
    t.victim.touch()
    t.live('3', '1').full(OLDER)
    end(t, '3')


@case
def live_after_another_process(t):
    begin(t)
    other = t.start_victim(name='other')
    t.live('other-1', victim=other)
    other.touch()
    t.live('2', 'other-1').full(NO_RECORD_OF_IT)
    end(t, '2')


@case
def live_after_the_keeper_was_killed(t):
    begin(t)
    for pid in t.keepers():
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not t.keepers(), 'end of the keeper')
    t.live('2', '1').full('is lost')
    end(t, '2')


@case
def live_without_the_parent(t):
    begin(t)
    t.live('2', 'none', code=1).said('the parent images cannot be used')
    empty(t, '2')
    end(t, '1')


@case
def live_into_a_directory_in_use(t):
    begin(t)
    before = sorted(os.listdir(t.path('1')))
    t.live('1', None, code=1).said('is not empty')
    check(sorted(os.listdir(t.path('1'))) == before, 'the directory was changed')
    end(t, '1')


@case
def live_on_a_full_disk(t):
    begin(t)
    os.mkdir(t.path('2'))
    t.run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', t.path('2')).expect(0)
    run = t.live('2', None, code=1).said('No space left on device')
    check(len(run.err.splitlines()) == 1, f'more than one line: {run.err}')
    empty(t, '2')
    t.live('3', '1').full(OLDER)
    end(t, '3')


@variants(process=['-t', '999999', '-D', 'x'], pid=['-t', 'x', '-D', 'x'], rate=['--max-bandwidth', 'fast'],
          rate_of_0=['--max-bandwidth', '0'], jobs=['--jobs', '0'], option=['--no-such'], directory=['-t', '1'],
          address=['--page-server'])
def live_with_wrong(t, options):
    t.start_victim()
    args = options if '-t' in options else ['-t', str(t.victim.pid), '-D', t.path('x'), *options]
    run = t.pagescan('pre-dump', *args, cwd=t.dir).expect(1 if '999999' in args else 2)
    check(run.err, 'nothing was said')
    check(not os.path.exists(t.path('x')), 'the directory was made')
    t.victim.unharmed()
    untracked(t)


@variants(in_path='pagescan', relative=f'./{os.path.basename(PAGESCAN)}',
          relative_to_above=os.path.relpath(PAGESCAN, os.path.join(PAGESCAN, '../..')))
def live_by_a_command(t, name):
    """From a build tree, too, the command finds itself to be the keeper, whatever it was called by."""
    t.start_victim()
    where = PAGESCAN.removesuffix(os.path.normpath(f'/{name}'))
    t.run('/bin/sh', '-c', f'cd {where} && exec {name} pre-dump -t {t.victim.pid} -D {t.path("1")}',
          env={'PATH': os.path.dirname(PAGESCAN)}).expect(0)
    end(t, '1')


@case
def live_of_a_zombie(t):
    t.start_victim()
    zombie = subprocess.Popen(['true'])
    wait(lambda: read_text(f'/proc/{zombie.pid}/stat').rpartition(')')[2].split()[0] == 'Z', 'the zombie')
    t.pagescan('pre-dump', '-t', str(zombie.pid), '-D', t.path('x')).expect(1).said('has ended')
    empty(t, 'x')


@case
def live_of_a_process_that_is_traced(t):
    """It is left alone, and a line says so."""
    t.start_victim()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    check(libc.ptrace(0x4206, t.victim.pid, 0, 0) == 0, 'the victim cannot be traced')
    t.live('1', None, code=1).said('traced by another process', NOTHING_LIVE)
    check(libc.ptrace(0x4207, t.victim.pid, 0, 0) == 0, 'the victim cannot be interrupted')
    os.waitpid(t.victim.pid, 0x40000000)
    libc.ptrace(17, t.victim.pid, 0, 0)
    empty(t, '1')
    t.live('1').silent()
    end(t, '1')


# A child that nothing wakes, as it waits for its own child as after vfork(2), and some memory to copy.
UNSTOPPABLE = '''
import ctypes, os, platform, sys, time
memory = os.urandom(16 << 20)
CLONE, VFORK_AND_SIGCHLD = {'x86_64': 56}.get(platform.machine(), 220), 0x4000 | 17
if not os.fork():
    child = ctypes.CDLL(None).syscall(CLONE, VFORK_AND_SIGCHLD, 0, 0, 0, 0)
    while not child:
        time.sleep(60)
    os.mkdir('awake')
time.sleep(600)
'''


@case
def live_lets_go_of_what_does_not_stop(t):
    """At once, and not only when the round is done: what is traced would stop as soon as it can."""
    root = t.start(sys.executable, '-c', UNSTOPPABLE).process.pid

    def only_child(pid):
        return wait(lambda: read_text(f'/proc/{pid}/task/{pid}/children').split(), 'a child')[0]
    waiting = only_child(root)
    last = only_child(waiting)
    run = t.start(PAGESCAN, 'pre-dump', '-t', str(root), '-D', t.path('1'), '--max-bandwidth', '8M')
    wait(lambda: os.path.exists(t.path('1', 'pages-1.img')), 'the first images')
    check(run.process.poll() is None, 'the round was over too soon')
    check('TracerPid:\t0\n' in read_text(f'/proc/{waiting}/status'), 'it is traced still')
    os.kill(int(last), signal.SIGKILL)
    wait(lambda: os.path.exists(t.path('awake')), 'that it goes on')
    run.finish().expect(0).said('none of its threads could be stopped in time')
    os.kill(root, signal.SIGKILL)
    os.kill(int(waiting), signal.SIGKILL)


@case
def live_of_a_stopped_process(t):
    """It stays stopped."""
    t.start_victim()
    os.kill(t.victim.pid, signal.SIGSTOP)
    wait(lambda: t.victim.proc('State')[0] == 'T', 'stop')
    t.live('1').silent()
    check(t.victim.proc('State')[0] == 'T', 'it runs')
    os.kill(t.victim.pid, signal.SIGCONT)
    t.victim.touch()
    end(t, '1')


@case
def live_killed(t):
    """At whatever point: nothing happens to the process, and the next round is right."""
    begin(t)
    chance = random.Random(1)
    for number in range(20):
        if number % 4 == 0:
            t.pagescan('untrack', '--all')  # so that it is killed while it makes the userfaultfd, too
        run = t.start(*live_command(t, f'killed-{number}'))
        time.sleep(chance.random() * 0.03)
        run.kill()
        t.victim.unharmed()
    t.live('2', '1').full()
    end(t, '2')


def live_command(t, images, *args):
    return [PAGESCAN, 'pre-dump', '-t', str(t.victim.pid), '-D', t.path(images), *args]


@variants(interrupt=signal.SIGINT, term=signal.SIGTERM)
def live_interrupted(t, signo):
    begin(t)
    run = t.start(*live_command(t, '2', '--max-bandwidth', '64K'))
    wait(lambda: os.path.exists(t.path('2', f'pagemap-{t.victim.pid}.img')), 'the first images')
    run.process.send_signal(signo)
    run.finish().expect(1).said('interrupted')
    empty(t, '2')
    t.victim.unharmed()
    t.live('3', '1').full(OLDER)
    end(t, '3')


def served(t, images, parent=None, server_parent='the same', code=0):
    server = Server(t, images, parent if server_parent == 'the same' else server_parent)
    run = t.live(images, parent, *server.options, code=code)
    if code:
        server.run.kill()
    else:
        server.run.finish().expect(0)
    return run


@case
def live_to_a_page_server(t):
    t.start_victim()
    served(t, '1').full().silent()
    t.victim.touch()
    served(t, '2', '1').incremental()
    t.victim.touch()
    server = Server(t, '3', '2')
    t.dump('3', '2', *server.options).incremental()
    server.run.finish().expect(0)
    merge(t, '1', '2', '3')
    t.restore('3')


@case
def live_to_a_page_server_without_the_parent(t):
    t.start_victim()
    served(t, '1')
    t.victim.touch()
    served(t, '2', '1', server_parent=None, code=1).said('has no parent images')
    empty(t, '2')
    t.victim.unharmed()
    t.live('3').full()
    end(t, '3')


class Fake(threading.Thread):
    """A server of another kind: says this to whoever comes, and hangs up."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer, self.socket = answer, socket.create_server(('127.0.0.1', 0))
        self.options = ('--page-server', '--address', '127.0.0.1', '--port', str(self.socket.getsockname()[1]))
        self.start()

    def run(self):
        client, _ = self.socket.accept()
        client.recv(16)
        client.sendall(self.answer)
        client.close()


@variants(nothing=b'', too_little=b'\0', nonsense=b'HTTP/1.0 400 Bad Request\r\n\r\n')
def live_to_a_server_that_answers(t, answer):
    begin(t)
    t.live('2', '1', *Fake(answer).options, code=1).said('page server')
    empty(t, '2')
    t.victim.unharmed()
    t.live('3', '1').full()
    end(t, '3')


@case
def live_to_no_page_server(t):
    begin(t)
    with socket.create_server(('127.0.0.1', 0)) as closed:
        port = closed.getsockname()[1]
    t.live('2', '1', '--page-server', '--address', '127.0.0.1', '--port', str(port), code=1).said('cannot connect')
    empty(t, '2')
    t.live('3', '1').incremental()
    end(t, '3')


def dump(t, *args, code=0):
    return t.pagescan('dump', '-t', str(t.victim.pid), '-D', t.path('all'), *args).expect(code)


def dumped(t):
    t.victim.wait_dumped()
    check('incomplete' not in os.listdir(t.path('all')), 'the directory is marked incomplete')
    t.restore('all/last')


def not_dumped(t):
    t.victim.unharmed()
    untracked(t)
    left = set(os.listdir(t.path('all')))
    check('incomplete' in left and 'last' not in left, f'not marked incomplete: {left}')
    shutil.rmtree(t.path('all'))
    dump(t)
    dumped(t)


@case
def whole_dump(t):
    t.start_victim('child')
    events = [json.loads(line) for line in dump(t, '--json').out.splitlines()]
    check(events[-1]['event'] == 'end' and events[-1]['verdict'] == 'converged', f'ended otherwise: {events[-1]}')
    check(all(event['live'] for event in events[:-1]), 'a round was a stopped one')
    dumped(t)


@case
def whole_dump_that_leaves_the_process_running(t):
    t.start_victim()
    dump(t, '--leave-running')
    t.victim.unharmed()
    dead = t.victim.pid
    os.kill(dead, signal.SIGKILL)
    check(reap(dead, 'end of the victim') == signal.SIGKILL, 'it was not killed')
    t.criu('restore', 'all/last', None, '-d', plain=True)
    t.victim.touches -= 1  # it knows nothing of what came after its dump
    t.victim.verdict()


@case
def whole_dump_whose_pause_does_not_fit(t):
    t.start_victim()
    check('does not fit' in dump(t, '--downtime-limit', '1', '--max-rounds', '2', code=3).out, 'no word of why')
    check(os.readlink(t.path('all/last')) == '3', 'not after two rounds')
    dumped(t)


@case
def whole_dump_without_time(t):
    t.start_victim()
    check('the time is over' in dump(t, '--timeout', '1', '--max-bandwidth', '256K', code=4).out, 'no word of why')
    not_dumped(t)


@case
def whole_dump_without_time_all_the_same(t):
    t.start_victim()
    dump(t, '--timeout', '1', '--on-timeout', 'force', '--max-bandwidth', '1M', '--downtime-limit', '1', code=3)
    dumped(t)


@case
def whole_dump_interrupted(t):
    t.start_victim()
    command = live_command(t, 'all', '--max-bandwidth', '256K')
    command[1] = 'dump'
    run = t.start(*command)
    wait(lambda: os.path.exists(t.path('all/1', f'pagemap-{t.victim.pid}.img')), 'the first images')
    run.process.send_signal(signal.SIGINT)
    run.finish().expect(4)
    not_dumped(t)


@case
def whole_dump_that_criu_cannot_make(t):
    t.start_victim()
    dump(t, '--', '--no-such-option', code=1).said('criu dump failed')
    not_dumped(t)


@variants(limit=['--downtime-limit', 'soon'], rounds=['--max-rounds', '-1'], time=['--timeout', '0'],
          action=['--on-timeout', 'wait'], word=['word'], address=['--page-server', '--port', '1'],
          server=['--address', 'localhost', '--port', '1'])
def whole_dump_with_wrong(t, options):
    t.start_victim()
    check(dump(t, *options, code=2).err, 'nothing was said')
    check(not os.path.exists(t.path('all')), 'the directory was made')
    untracked(t)


@case
def whole_dump_of_one_that_reads_past_its_page_tables(t):
    """Rounds stop it, and a line says why."""
    t.start_victim('direct')
    dump(t).said('a round stops it')
    dumped(t)


class Servers(threading.Thread):
    """Page servers for whole dumps, one after the other on one port: 1, 2, ... in server-all, up to so many."""

    def __init__(self, t, most=100):
        super().__init__(daemon=True)
        self.t, self.most, self.runs, self.ended = t, most, [], False
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.port = free.getsockname()[1]
        self.options = '--page-server', '--address', '127.0.0.1', '--port', str(self.port)
        self.serve()
        wait(lambda: listens(self.port), 'page server')
        self.start()

    def serve(self):
        number = len(self.runs) + 1
        os.makedirs(self.t.path('server-all', str(number)))
        args = ['--prev-images-dir', f'../{number - 1}'] if number > 1 else []
        self.runs.append(self.t.start(CRIU, 'page-server', '-D', self.t.path('server-all', str(number)), '--address',
                                      '127.0.0.1', '--port', str(self.port), '-v4', '-o', 'log', *args))

    def run(self):
        while not self.ended:
            self.runs[-1].process.wait()
            if self.ended or len(self.runs) == self.most:
                return
            time.sleep(0.3)  # it is not there at once
            self.serve()

    def end(self):
        """Of all but the last, which waits for a client, each was content."""
        self.ended = True
        self.runs[-1].process.kill()
        self.join(10)
        codes = [run.process.wait() for run in self.runs[:-1]]
        check(not any(codes), f'page servers ended with {codes}')


def dumped_to_servers(t, servers):
    t.victim.wait_dumped()
    servers.end()
    rounds = sorted(filter(str.isdigit, os.listdir(t.path('all'))), key=int)
    for number in rounds:
        check(not any(name.startswith('pages-') for name in os.listdir(t.path('all', number))), 'pages here')
        shutil.copytree(t.path('server-all', number), t.path('all', number), symlinks=True, dirs_exist_ok=True,
                        ignore=lambda _, found: {'parent', 'log'} & set(found))
    check(stats.read(t.path('all/last/stats-dump'))['pages_skipped_parent'], 'the dump left nothing to its parents')
    t.restore('all/last')
    return rounds


@case
def whole_dump_to_page_servers(t):
    t.start_victim('child')
    servers = Servers(t)
    dump(t, '--max-rounds', '3', '--downtime-limit', '1', *servers.options, code=3)
    check(dumped_to_servers(t, servers) == ['1', '2', '3', '4'], 'other rounds')


@case
def whole_dump_to_page_servers_of_one_that_reads_past_its_page_tables(t):
    """The connection that a live round could not use is criu's."""
    t.start_victim('direct')
    servers = Servers(t)
    dump(t, '--max-rounds', '1', '--downtime-limit', '1', *servers.options, code=3).said('a round stops it')
    t.victim.wait_dumped()
    servers.end()
    for number in '12':
        check(any(name.startswith('pages-') for name in os.listdir(t.path('server-all', number))),
              f'no pages of round {number}')


@case
def whole_dump_to_no_page_server(t):
    t.start_victim()
    with socket.create_server(('127.0.0.1', 0)) as closed:
        port = closed.getsockname()[1]
    dump(t, '--page-server', '--address', '127.0.0.1', '--port', str(port), code=1).said('cannot connect')
    not_dumped(t)


@case
def whole_dump_whose_second_page_server_is_missing(t):
    t.start_victim()
    servers = Servers(t, most=1)
    dump(t, '--downtime-limit', '1', *servers.options, code=1).said('cannot connect')
    not_dumped(t)


@case
def whole_dump_interrupted_while_it_waits_for_a_page_server(t):
    t.start_victim()
    servers = Servers(t, most=1)
    command = live_command(t, 'all', '--downtime-limit', '1', *servers.options)
    command[1] = 'dump'
    run = t.start(*command)
    wait(lambda: os.path.exists(t.path('all/2')), 'the second round')
    run.process.send_signal(signal.SIGINT)
    run.finish().expect(4)
    not_dumped(t)


@case
def watched(t):
    """What was untracked is so again, and a chain goes on."""
    t.start_victim()
    look = json.loads(t.pagescan('watch', '--count', '1', '--json', str(t.victim.pid)).expect(0).out)
    check(not look['chain'] and look['clean_bytes'] > 0, f'a strange look: {look}')
    untracked(t)
    t.live('1')
    t.victim.touch()
    look = json.loads(t.pagescan('watch', '--count', '1', '--json', str(t.victim.pid)).expect(0).out)
    check(look['chain'] and look['written_bytes'] > 0, f'a strange look: {look}')
    t.live('2', '1').incremental()
    end(t, '2')
