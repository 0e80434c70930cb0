# SPDX-License-Identifier: GPL-2.0-only
"""Asynchronous direct reads that are under way while a round copies memory, for as long as the case wants."""

import mmap
import os
import signal
import struct
import subprocess

from kit import PROGRAMS, Skip, case, check, reap, wait

VERIFY = {'PAGESCAN_VERIFY': '1'}
LACKING = 77
PID, WANTED, SUBMITTED, ENDED, HOLD = range(5)


class Reader:
    """The program reader.c."""

    def __init__(self, directory):
        os.mkdir(directory)
        status = os.path.join(directory, 'status')
        self.keeper = subprocess.Popen([os.path.join(PROGRAMS, 'reader'), directory], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait(lambda: self.keeper.poll() is not None or os.path.exists(status) and os.path.getsize(status),
             'start of the reader')
        with open(status, 'r+b') as file:
            self.status = mmap.mmap(file.fileno(), 0)
        self.pid = wait(lambda: self[PID] or self.keeper.poll(), 'start of the reader')
        if self.keeper.poll() == LACKING:
            raise Skip('needs loop devices, FUSE, mkfs.ext4')

    def __getitem__(self, number):
        return struct.unpack_from('=i', self.status, 4 * number)[0]

    def __setitem__(self, number, value):
        struct.pack_into('=i', self.status, 4 * number, value)

    def submit(self):
        self[WANTED] += 1
        wait(lambda: self[SUBMITTED] == self[WANTED], 'submission of a read')

    def end(self):
        wait(lambda: self[ENDED] == self[WANTED], 'end of a read')

    def wait_dumped(self):
        wait(lambda: not os.path.exists(f'/proc/{self.pid}'), 'end of the dumped reader')

    def verdict(self):
        os.kill(self.pid, signal.SIGTERM)
        check(not reap(self.pid, 'verdict of the reader'), 'memory that a device wrote is not what was read')


def begin(t):
    t.victim = Reader(t.path('reader'))
    t.pre_dump('1').full().silent()
    return t.victim


@case
def direct_read_under_way(t):
    """Its page is as it was when it is copied, and is written after that, past the page tables."""
    reader = begin(t)
    reader[HOLD] = 1
    reader.submit()
    run = t.pre_dump('2', '1').said('the next round takes again what this one takes', 'not seen without requests')
    check(run.clean(), 'what was protected before was not left to the parent')
    reader[HOLD] = 0
    reader.end()
    t.pre_dump('3', '2', env=VERIFY).incremental()
    t.dump('4', '3', env=VERIFY).incremental()
    t.restore('4')


@case
def direct_read_when_tracking_begins(t):
    """Nothing is protected before it ends."""
    t.victim = reader = Reader(t.path('reader'))
    reader[HOLD] = 1
    reader.submit()
    t.pre_dump('1').full('the next round will be a full one', 'not seen without requests')
    reader[HOLD] = 0
    reader.end()
    t.pre_dump('2', '1', env=VERIFY).full('the parent images have no pagescan.img')
    t.dump('3', '2', env=VERIFY).incremental()
    t.restore('3')


@case
def direct_reads_that_have_ended(t):
    """The rounds are as without them."""
    reader = begin(t)
    for images in range(2, 5):
        reader.submit()
        reader.end()
        t.pre_dump(f'{images}', f'{images - 1}', env=VERIFY).incremental()
    t.dump('5', '4', env=VERIFY).incremental()
    t.restore('5')
