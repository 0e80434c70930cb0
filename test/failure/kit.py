# SPDX-License-Identifier: GPL-2.0-only
"""What the cases share: a victim, runs of criu with their evidence, and the directory of a case.

A case is a function that takes a Test. It runs as process 1 of namespaces of its own (see run), so whatever it leaves
behind ends with it, no other keeper is in reach, and every orphan becomes its child.
"""

import ctypes
import functools
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get('O', os.path.join(ROOT, 'build')))
PROGRAMS = os.path.join(BUILD, 'test', 'failure')
PAGESCAN = os.path.join(BUILD, 'pagescan')
PLUGIN = os.path.join(BUILD, 'pagescan_plugin.so')
PRIVATE_CRIU = os.path.join(ROOT, 'build/criu/criu')
CRIU = os.environ.get('PAGESCAN_CRIU') or (PRIVATE_CRIU if os.path.exists(PRIVATE_CRIU) else shutil.which('criu'))

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, 'test', 'zdtm'))
import stats  # noqa: E402
from reading import read_text  # noqa: E402

CASES = {}
TIMEOUT = 180  # of what takes a second: to end what hangs, not to tell how busy the machine is


class Failure(Exception):
    pass


class Skip(Exception):
    pass


PASSED, FAILED, SKIPPED = 0, 1, 77


def outcome(name, test):
    """Run a case; its exit status. The reason, where there is one, is the last line of stdout."""
    try:
        CASES[name](test)
    except Skip as reason:
        print(reason)
        return SKIPPED
    except Failure as reason:
        print(' '.join(str(reason).split()))
        return FAILED
    except Exception as error:  # a mistake of the case's: it fails, the others go on
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(f'{error!r} in {os.path.basename(where.filename)}, line {where.lineno}')
        return FAILED
    return PASSED


@functools.cache
def fault_of_machine():
    """A CRIU_FAULT without which criu does not work here, '' for none. It cannot be had together with another one."""
    return subprocess.run([os.path.join(ROOT, 'scripts', 'criu-fault'), CRIU], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def needs_zero_page():
    """Where the kernel maps none, criu that reads pagemap takes some page's frame for it, and loses what that is used for
    next (criu/kerndat.c, init_zero_page_pfn)."""
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    check(pages[0] == pages[mmap.PAGESIZE] == 0, 'new memory is not zero')
    with open('/proc/self/pagemap', 'rb') as pagemap:
        pagemap.seek(address // mmap.PAGESIZE * 8)
        first, second = struct.unpack('=2Q', pagemap.read(16))
    if first != second:
        raise Skip('this kernel maps no zero page, without which criu that reads pagemap loses pages')


def case(function):
    CASES[function.__name__.replace('_', '-')] = function
    return function


def variants(**table):
    """A case for each entry; its value is the function's second argument."""
    def register(function):
        for name, value in table.items():
            full_name = f'{function.__name__}_{name}'.replace('_', '-')
            CASES[full_name] = lambda t, value=value: function(t, value)
        return function
    return register


def check(condition, message):
    if not condition:
        raise Failure(message)


def wait(condition, what, timeout=TIMEOUT):
    """Poll until the condition has a result that is true."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        check(time.monotonic() < deadline, f'{what}: not within {timeout} s')
        time.sleep(0.002)
    return result


def reap(pid, what):
    """The wait status of a child of ours, once it has ended."""
    return wait(lambda: [status for ended, status in [os.waitpid(pid, os.WNOHANG)] if ended], what)[0]


def is_alive(pid):
    """Whether there is such a process, and it is no zombie."""
    return read_text(f'/proc/{pid}/stat').rpartition(')')[2][1:2] not in ('', 'Z', 'X')


class Victim:
    """The program victim.c, in a directory of its own; `roles` as its head comment says, `program`: a copy of it."""

    def __init__(self, directory, *roles, program=os.path.join(PROGRAMS, 'victim')):
        self.dir, self.touches = directory, 0
        os.mkdir(directory)
        with open(self.path('err'), 'w') as err:
            process = subprocess.Popen([program, directory, *roles], stderr=err,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        process.returncode = 0  # reaped by pid below, dumped or restored
        self.pid = process.pid
        size = 2 if 'child' in roles else 1
        wait(lambda: self.alive() and len(self.records()) >= size and all(pid for pid, *_ in self.records()[:size]),
             f'start of the victim ({read_text(self.path("err"))})')
        with open(self.path('status'), 'r+b') as file:
            self.status = mmap.mmap(file.fileno(), 0)
        self.pids = [pid for pid, *_ in self.records()[:size]]

    def path(self, name):
        return os.path.join(self.dir, name)

    def records(self):
        """Of each of its processes: pid, touches, writes."""
        try:
            with open(self.path('status'), 'rb') as file:
                return [*struct.iter_unpack('=iIQ', file.read(32))]
        except FileNotFoundError:
            return []

    def proc(self, field):
        for line in read_text(f'/proc/{self.pid}/status').splitlines():
            name, _, value = line.partition(':')
            if name == field:
                return value.strip()
        return ''

    def alive(self):
        return self.proc('State')[:1] not in ('', 'Z', 'X')

    def touch(self):
        """Have one more class of pages written; every call takes other pages."""
        self.touches += 1
        os.kill(self.pid, signal.SIGUSR1)
        wait(lambda: not self.alive() or all(record[1] == self.touches for record in self.records()[:len(self.pids)]),
             'answer of the victim')
        check(self.alive(), 'the victim is dead')

    def unharmed(self):
        """It runs, nobody traces it, and it answers."""
        wait(lambda: self.proc('TracerPid') in ('0', ''), 'end of tracing')
        check(self.alive(), 'the victim is dead')
        check(self.proc('State')[0] not in 'Tt', f'the victim is stopped: {self.proc("State")}')
        self.touch()

    def wait_dumped(self):
        """A dump has killed it; its pids are to be free for the restore."""
        for pid in self.pids:
            status = reap(pid, 'end of the dumped victim')
            check(status == signal.SIGKILL, f'the dumped victim ended with status {status:#x}')

    def verdict(self):
        """Let it verify its memory and end. Its own count tells that it is not the process of an earlier round."""
        os.kill(self.pid, signal.SIGTERM)
        status = reap(self.pid, 'verdict of the victim')
        check(os.WIFEXITED(status), f'the restored victim died of signal {os.WTERMSIG(status)}')
        for number in range(len(self.pids)):
            text = read_text(self.path(f'verdict.{number}'))
            check(text == f'PASS {self.touches}', f'process {number} says "{text}" after {self.touches} touches')
        check(not status, f'the victim ended with status {status:#x}')


class Run:
    """One run of a command, criu mostly: exit code, output, and criu's log and numbers."""

    def __init__(self, process, images=None, log=None):
        self.process, self.images, self.log_file = process, images, log
        self.code = self.out = self.err = None

    def finish(self, timeout=TIMEOUT):
        try:
            self.out, self.err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure(f'{" ".join(self.process.args[:3])}: not done within {timeout} s') from None
        self.code = self.process.returncode
        return self

    def expect(self, code):
        check(self.code == code, f'{" ".join(self.process.args[:4])} exited with {self.code}, not {code}: '
              f'{self.err.strip()[-300:]} {" ".join(self.errors()[-2:])}')
        return self

    @property
    def log(self):
        return read_text(self.log_file) if self.log_file else ''

    def errors(self):
        return [line for line in self.log.splitlines() if 'Error (' in line and 'RLIMIT_NOFILE' not in line]

    def said(self, *texts):
        """The plugin has written these, in lines of its own, into criu's log; or the command to its error output."""
        lines = [line for line in (self.log if self.log_file else self.err).splitlines() if 'pagescan: ' in line]
        for text in texts:
            check(any(text in line for line in lines),
                  f'no "{text}" in the log, but: {" / ".join(line.split("pagescan: ")[1] for line in lines)}')
        return self

    def silent(self):
        """The plugin has warned of nothing, the command has said nothing."""
        lines = [line for line in self.log.splitlines() if 'Warn' in line and 'pagescan: ' in line] or \
            ([] if self.log_file else self.err.splitlines())
        check(not lines, f'unexpected: {lines}')
        return self

    def clean(self):
        return stats.read(os.path.join(self.images, 'stats-dump'))['pages_skipped_parent']

    def full(self, *reasons):
        check(not self.clean(), f'{self.clean()} pages were left to the parent')
        return self.said(*reasons)

    def incremental(self):
        check(self.clean(), 'no page was left to the parent; ' +
              ' '.join(line for line in self.log.splitlines() if 'pagescan: ' in line))
        return self.silent()

    def stops(self):
        """Wait until STRIKE has stopped it; or it ends without."""
        flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        info = wait(lambda: os.waitid(os.P_PID, self.process.pid, flags), 'the point to strike at')
        return info.si_code == os.CLD_STOPPED

    def wait_stopped(self):
        check(self.stops(), f'ended without reaching the point to strike at: {self.errors()}')
        return self

    def kill(self):
        """Its output may stay open: killed early, criu leaves a child of its feature tests behind."""
        self.process.kill()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()
        self.process.stderr.close()
        self.code = self.process.returncode
        return self

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        return self.finish()


class Test:
    """One case on its way: everything lies in self.dir."""

    def __init__(self, directory):
        self.dir = directory
        self.victim = None
        self.environment = {**os.environ, 'PAGESCAN_CRIU': CRIU}
        self.environment.pop('LD_PRELOAD', None)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def start_victim(self, *roles, name='victim'):
        """The case's own victim, in the place of one that is dead; or, with a name, another one."""
        victim = Victim(self.path(name), *roles)
        if not self.victim or not self.victim.alive():
            self.victim = victim
        return victim

    def start(self, *command, images=None, log=None, env=(), strike='', **popen):
        environment = {**self.environment, **dict(env)}
        if 'CRIU_FAULT' in dict(env) and fault_of_machine():
            raise Skip(f'no hardware breakpoints: criu before 4.2 works with CRIU_FAULT={fault_of_machine()} only')
        if strike:
            environment.update(LD_PRELOAD=os.path.join(PROGRAMS, 'strike.so'), STRIKE=strike)
        environment = {name: value for name, value in environment.items() if value is not None}
        options = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'cwd': self.dir,
                   **popen}
        process = subprocess.Popen(command, env=environment, text=True, errors='replace', **options)
        return Run(process, images, log)

    def run(self, *command, timeout=TIMEOUT, **how):
        return self.start(*command, **how).finish(timeout)

    def pagescan(self, *args, **how):
        return self.run(PAGESCAN, *args, **how)

    def start_criu(self, action, images, parent=None, *args, plain=False, wrap=(), victim=None, **how):
        """`images` names a directory in the case's, `parent` one that lies beside it; plain: without the plugin."""
        if not os.path.lexists(self.path(images)):
            os.mkdir(self.path(images))
        log = self.path(f'{images}.{action}.log'.replace('/', '.'))  # outside: the images may have no room for it
        command = [*wrap, *([CRIU] if plain else [PAGESCAN, 'criu']), action, '-D', self.path(images), '-v4',
                   '-o', log, *args]
        if action != 'restore':
            command += '-t', str((victim or self.victim).pid)
        if parent:
            command += '--prev-images-dir', f'../{parent}'
        return self.start(*command, images=self.path(images), log=log, **how)

    def criu(self, *args, code=0, timeout=TIMEOUT, **how):
        run = self.start_criu(*args, **how).finish(timeout)
        check('pagescan: BUG' not in run.log, 'pagescan: BUG')
        return run if code is None else run.expect(code)

    def pre_dump(self, images, parent=None, *args, **how):
        return self.criu('pre-dump', images, parent, *args, **how)

    def dump(self, images, parent=None, *args, track=True, **how):
        """The last one: the victim ends."""
        run = self.criu('dump', images, parent, *(['--track-mem'] if track else []), *args, **how)
        (how.get('victim') or self.victim).wait_dumped()
        return run

    def live(self, images, parent=None, *args, code=0, victim=None, **how):
        """A round of `pagescan pre-dump`; what it says is in its error output."""
        args += ('--prev-images-dir', f'../{parent}') if parent else ()
        run = self.pagescan('pre-dump', '-t', str((victim or self.victim).pid), '-D', self.path(images), *args, **how)
        run.images = self.path(images)
        return run if code is None else run.expect(code)

    def snapshot(self, images, parent=None, *args, **how):
        """A dump that lets the victim run on."""
        return self.criu('dump', images, parent, '--track-mem', '--leave-running', *args, **how)

    def restore(self, images, victim=None):
        """By plain criu, as images need nothing of ours; then the verdict."""
        self.criu('restore', images, None, '-d', plain=True)
        (victim or self.victim).verdict()

    def keepers(self):
        """Pids of the keepers in this world."""
        return [int(pid) for pid in filter(str.isdigit, os.listdir('/proc'))
                if read_text(f'/proc/{pid}/cmdline').split('\0')[1:2] == ['keeper'] and is_alive(pid)]
