# SPDX-License-Identifier: GPL-2.0-only
"""The machine around a torture: what the kernel does to memory by itself, now and then, it does all the time.

It merges pages that are alike (KSM), puts huge pages in the place of small ones (khugepaged), has swap to page out to,
and moves pages about (compaction). All settings are put back at the end. What the machine does not have is told.
"""

import contextlib
import errno
import fcntl
import os
import subprocess
import tempfile
import threading

KSM = '/sys/kernel/mm/ksm/'
KHUGEPAGED = '/sys/kernel/mm/transparent_hugepage/khugepaged/'
SETTINGS = {
    'KSM': {KSM + 'pages_to_scan': '1000', KSM + 'sleep_millisecs': '20', KSM + 'run': '1'},
    'khugepaged': {KHUGEPAGED + 'scan_sleep_millisecs': '50', KHUGEPAGED + 'alloc_sleep_millisecs': '50'},
}
LOCK = '/sys/kernel/mm'
COMPACT = '/proc/sys/vm/compact_memory'
COMPACT_EVERY_S = 0.1
SWAP_MIB = 256


def write(path, text):
    with open(path, 'w') as file:
        file.write(text)


@contextlib.contextmanager
def settings(values):
    before = {}
    try:
        for path, value in values.items():
            with open(path) as file:
                text = file.read().strip()
            write(path, value)
            before[path] = text
        yield
    finally:
        for path, value in reversed(before.items()):
            write(path, value)


@contextlib.contextmanager
def swap(directory):
    """A file there, of which nothing is left but by a kill -9."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix='swap.') as file:
        os.posix_fallocate(file.fileno(), 0, SWAP_MIB << 20)
        for command in ['mkswap', 'swapon']:
            done = subprocess.run([command, file.name], capture_output=True, text=True)
            if done.returncode:
                raise OSError(errno.ENOTSUP, f'{command}: {done.stderr.strip()}')
        try:
            yield
        finally:
            subprocess.run(['swapoff', file.name], check=True)


@contextlib.contextmanager
def compaction():
    write(COMPACT, '1')
    done = threading.Event()

    def compact():
        while not done.wait(COMPACT_EVERY_S):
            write(COMPACT, '1')
    thread = threading.Thread(target=compact)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def restless(directory):
    """The machine so for as long as the context lasts. @directory: where a file of SWAP_MIB may lie."""
    parts = {name: settings(values) for name, values in SETTINGS.items()}
    parts.update({'swap': swap(directory), 'compaction': compaction()})
    with contextlib.ExitStack() as stack:
        lock = os.open(LOCK, os.O_RDONLY)
        stack.callback(os.close, lock)
        try:
            # Who comes second finds the settings made, and leaves them to the first.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('torture: another torture has the machine', flush=True)
            yield
            return
        for name, part in parts.items():
            try:
                stack.enter_context(part)
            except OSError as reason:
                print(f'torture: without {name}: {reason}', flush=True)
        yield
