# SPDX-License-Identifier: GPL-2.0-only
"""pagescan.img of the parent is missing, damaged, stale or no file: full, and the log says why."""

import os
import shutil

from chains import NO_RECORD, OLDER, begin, end
from kit import case, variants


@case
def parent_without_record(t):
    begin(t)
    os.unlink(t.path('1/pagescan.img'))
    t.pre_dump('2', '1').full(NO_RECORD)
    end(t, '2')


@case
def parent_with_the_record_of_an_older_one(t):
    begin(t)
    t.pre_dump('2', '1')
    t.victim.touch()
    shutil.copy(t.path('1/pagescan.img'), t.path('2/pagescan.img'))
    t.pre_dump('3', '2').full(OLDER)
    end(t, '3')


def without_tracker(data):
    """The 16 random bytes, field 3 of a task's record, turned into zeros."""
    at = data.rindex(b'\x1a\x10') + 2
    return data[:at] + bytes(16) + data[at + 16:]


DAMAGES = {
    'empty': (lambda data: b'', 'does not begin with its magic'),
    'magic': (lambda data: b'PAGESCUM' + data[8:], 'does not begin with its magic'),
    'magic_only': (lambda data: data[:8], 'is damaged'),
    'truncated': (lambda data: data[:-3], 'is damaged'),
    'noise': (lambda data: data[:8] + bytes(range(255, 0, -3)), 'is damaged'),
    'version': (lambda data: data[:8] + data[8:].replace(b'\x08\x01', b'\x08\x02', 1), 'has version 2'),
    'other_tracker': (without_tracker, 'were tracked by another tracker'),
    'other_epoch': (lambda data: data[:-1] + b'\x07', 'are of epoch 7, the tracker is at 1'),
    'no_task': (lambda data: data[:10], 'record no task'),
}


@variants(**DAMAGES)
def damaged_record(t, damage):
    change, reason = damage
    begin(t)
    with open(t.path('1/pagescan.img'), 'r+b') as file:
        data = file.read()
        file.seek(0)
        file.truncate()
        file.write(change(data))
    t.pre_dump('2', '1').full(reason)
    end(t, '2')


@case
def record_with_an_unknown_field(t):
    """What a later version may add is no damage."""
    begin(t)
    with open(t.path('1/pagescan.img'), 'ab') as file:
        file.write(b'\x1a\x01x')
    t.pre_dump('2', '1').incremental()
    end(t, '2')


@variants(directory=os.mkdir, fifo=os.mkfifo, dangling_link=lambda path: os.symlink('nowhere', path),
          device=lambda path: os.symlink('/dev/zero', path))
def record_that_is_no_file(t, make):
    """In the place of the parent's record, and where this round's is to go."""
    begin(t)
    os.unlink(t.path('1/pagescan.img'))
    make(t.path('1/pagescan.img'))
    t.pre_dump('2', '1').full('pagescan.img')
    t.victim.touch()
    os.mkdir(t.path('3'))
    make(t.path('3/pagescan.img'))
    third = t.pre_dump('3', '2')
    fourth = t.pre_dump('4', '3')
    if make is os.mkdir:  # not taken away: who knows what is in it
        third.said('the next round will be a full one: cannot write pagescan.img')
        fourth.full('pagescan.img')
    else:
        third.incremental()
        fourth.incremental()
    end(t, '4')


@case
def record_is_a_link(t):
    """A link to the very record: the bytes count, not where they lie."""
    begin(t)
    os.rename(t.path('1/pagescan.img'), t.path('record'))
    os.symlink('../record', t.path('1/pagescan.img'))
    t.pre_dump('2', '1').incremental()
    end(t, '2')
