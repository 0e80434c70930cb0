# SPDX-License-Identifier: GPL-2.0-only
"""Good chains, and parents that are not what the tracker's last reset followed: full, and the log says why."""

import os
import shutil

from kit import PROGRAMS, Victim, case, check

OLDER = 'the parent images are of epoch 1, the tracker is at 2'
NO_RECORD_OF_IT = 'the parent images have no record of this task'
NO_RECORD = 'the parent images have no pagescan.img'


def begin(t, *roles):
    """One good round, whose images are stale by what is written from now on."""
    t.start_victim(*roles)
    t.pre_dump('1').full().silent()
    t.victim.touch()


def end(t, parent):
    """The chain goes on, incrementally again, and restores right."""
    t.victim.touch()
    t.dump('last', parent).incremental()
    t.restore('last')


@case
def good_chain(t):
    begin(t)
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    t.pre_dump('3', '2').incremental()
    end(t, '3')


@case
def good_chain_of_snapshots(t):
    """Dumps of the running process; any of them restores."""
    t.start_victim()
    t.snapshot('1').full().silent()
    t.victim.touch()
    t.snapshot('2', '1').incremental()
    end(t, '2')


@case
def good_chain_of_two_processes(t):
    begin(t, 'child')
    t.pre_dump('2', '1').incremental()
    end(t, '2')


@case
def not_the_last_after_all(t):
    """Criu is told that the processes end with its dump, so nothing is protected; but they go on."""
    begin(t)
    t.snapshot('2', '1', env={'PAGESCAN_LAST': '1'}).incremental()
    t.victim.touch()
    t.snapshot('3', '1', env={'PAGESCAN_LAST': '1'}).incremental()
    t.victim.touch()
    t.pre_dump('4', '3').full(NO_RECORD)
    end(t, '4')


@case
def older_parent(t):
    """A directory is skipped: what was written before its round counts as clean by now."""
    begin(t)
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    t.pre_dump('3', '1').full(OLDER)
    end(t, '3')


@case
def older_parent_in_the_end(t):
    begin(t)
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    t.dump('3', '1').full(OLDER)
    t.restore('3')


@case
def parent_of_another_process(t):
    begin(t)
    other = t.start_victim(name='other')
    t.pre_dump('other-1', victim=other)
    other.touch()
    t.pre_dump('2', 'other-1').full(NO_RECORD_OF_IT)
    t.pre_dump('other-2', 'other-1', victim=other).incremental()
    end(t, '2')
    t.dump('other-3', 'other-2', victim=other).incremental()
    t.restore('other-3', victim=other)


@case
def parent_made_without_tracking(t):
    """criu itself refuses it, with or without the plugin: its inventory lacks the time of the dump."""
    begin(t)
    t.criu('dump', 'plain', None, '--leave-running', plain=True)
    t.criu('pre-dump', '2', 'plain', code=1).said(NO_RECORD)
    t.victim.unharmed()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


@case
def parent_that_does_not_exist(t):
    """criu refuses it, before it touches the process: as without the plugin."""
    begin(t)
    plain = t.criu('dump', 'plain', 'nowhere', '--leave-running', plain=True, code=None)
    check(plain.code, 'plain criu accepts a parent that does not exist')
    t.criu('dump', '2', 'nowhere', '--track-mem', '--leave-running', code=plain.code)
    t.criu('pre-dump', '2', 'nowhere', code=plain.code)
    t.victim.unharmed()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


@case
def parent_that_is_a_file(t):
    begin(t)
    with open(t.path('file'), 'w'):
        pass
    plain = t.criu('dump', 'plain', 'file', '--leave-running', plain=True, code=None)
    t.criu('dump', '2', 'file', '--track-mem', '--leave-running', code=plain.code)
    t.victim.unharmed()
    t.pre_dump('3')
    end(t, '3')


@case
def round_without_parent_in_the_midst(t):
    """A full one, because it was asked for; the chain goes on from it."""
    begin(t)
    t.pre_dump('2').full().silent()
    t.victim.touch()
    t.pre_dump('3', '2').incremental()
    end(t, '3')


@case
def round_without_parent_and_then_the_older_one(t):
    begin(t)
    t.pre_dump('2')
    t.victim.touch()
    t.pre_dump('3', '1').full(OLDER)
    end(t, '3')


@case
def dump_without_parent(t):
    begin(t)
    t.dump('2').full().silent()
    t.restore('2')


@case
def last_dump_without_track_mem(t):
    """Without the option criu leaves nothing to the parent."""
    begin(t)
    t.dump('2', '1', track=False).full().silent()
    t.restore('2')


@case
def snapshot_without_track_mem(t):
    """It resets nothing, so the next round may build on the same parent as before."""
    begin(t)
    t.criu('dump', '2', '1', '--leave-running').full()
    check(not os.path.exists(t.path('2/pagescan.img')), 'it has a record')
    t.victim.touch()
    t.pre_dump('3', '1').incremental()
    end(t, '3')


@case
def two_chains(t):
    """Interleaved on one process, each from its own last directory. Either restores right."""
    begin(t)
    t.pre_dump('other-1')
    t.victim.touch()
    t.pre_dump('2', '1').full(OLDER)
    t.victim.touch()
    t.snapshot('other-2', 'other-1').full('are of epoch 2, the tracker is at 3')
    touches = t.victim.touches
    t.victim.touch()
    t.dump('3', '2').full('are of epoch 3, the tracker is at 4')
    t.restore('3')
    t.victim.touches = touches
    t.restore('other-2')


@case
def reused_directory(t):
    """A second chain into the same two directories, whose links to the parent are still there."""
    begin(t)
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    t.pre_dump('1').full()
    t.victim.touch()
    t.pre_dump('2', '1').incremental()
    end(t, '2')


@case
def reused_by_another_process(t):
    begin(t)
    other = t.start_victim(name='other')
    t.pre_dump('1', victim=other)
    t.pre_dump('2', '1').full(NO_RECORD_OF_IT)
    end(t, '2')
    other.verdict()


@case
def restored_process(t):
    """Tracking ended with the dump; the restored one has the same pid and another start."""
    begin(t)
    t.dump('2', '1').incremental()
    t.criu('restore', '2', None, '-d', plain=True)
    t.victim.touch()
    t.pre_dump('3', '2').full(NO_RECORD_OF_IT)
    t.victim.touch()
    t.pre_dump('4', '1').full(NO_RECORD_OF_IT)
    end(t, '4')


@case
def name_that_passes_for_an_area(t):
    """Libcompel, which reads maps in pieces, would end criu by a BUG where one of a long name looks executable."""
    column, piece = 73, 127  # where names begin, and how much is read
    at = next(at for at in range(piece - column, 1000, piece) if at >= len(t.path('')))
    program = t.path('z' * (at + 4 - len(t.path(''))) + 'x')
    shutil.copy(os.path.join(PROGRAMS, 'victim'), program)
    t.victim = Victim(t.path('victim'), program=program)
    t.pre_dump('1').full('cannot run a system call in the task: Operation not supported')
    t.victim.touch()
    t.dump('2', '1').full('cannot run a system call in the task: Operation not supported')
    t.restore('2')
