# SPDX-License-Identifier: GPL-2.0-only
"""A dump in which criu is told nothing of clean pages: its images hold entries for them nevertheless, or are none."""

import errno
import glob
import mmap
import os
import re
import signal

from audits import AUDITED, verify
from chains import begin, end
from kit import case, check, variants
from server import merge, served

# Whoever else opens a pagemap only reads it, or only writes it.
COMPLETING = 'openat|rw pagemap-|1'


def told(run):
    """How many clean pages criu was told of."""
    return sum(map(int, re.findall(r'Pagemap generated: .* (\d+) holes', run.log)))


def no_images(t, images):
    """What is there does not pass for images."""
    check(not os.path.exists(t.path(images, 'inventory.img')), 'there is an inventory')
    run = t.criu('restore', images, None, '-d', plain=True, code=None)
    check(run.code and 'Unexpected EOF on (empty-image)' in run.log, 'a restore goes beyond the inventory')


@case
def omitted_and_audited(t):
    """Criu is told of no clean page; the audit sees each before, and the entries of each afterwards."""
    begin(t, 'child')
    run = t.snapshot('2', '1', env=AUDITED).incremental()
    check(not told(run), f'criu was told of {told(run)} clean pages')
    verified = sum(map(int, re.findall(r'(\d+) clean pages were verified', run.log)))
    check(verified >= run.clean(), f'of {run.clean()} clean pages {verified} were verified')
    t.victim.touch()
    t.dump('3', '2', env=AUDITED).incremental()
    t.restore('3')


@case
def omitted_pages_are_in_the_images(t):
    """The auditor, which reads them by code of its own, finds the bytes of each."""
    begin(t)
    run = t.criu('dump', '2', '1', '--track-mem', '--leave-stopped').incremental()
    compared = int(verify(t, '2').out.split()[1])
    check(compared >= run.clean() > 1000, f'{compared} pages are in the images, {run.clean()} were left to the parent')
    os.kill(t.victim.pid, signal.SIGCONT)
    t.dump('3', '2').incremental()
    t.restore('3')


def scattered(t):
    """A chain whose second images have so many entries that criu does not read them at once."""
    begin(t)
    for _ in range(16):
        t.victim.touch()
    t.pre_dump('2', '1').incremental()
    size = os.path.getsize(t.path('2', f'pagemap-{t.victim.pid}.img'))
    check(size > 2 * mmap.PAGESIZE, f'the pagemap has {size} bytes')
    t.victim.touch()


@variants(made={}, not_made={'strike': f'pwrite|memfd:pagemap|1|{errno.ENOSPC}'})
def short_pagemap_of_a_parent(t, how):
    """Criu gets it while all is frozen, or the whole one."""
    scattered(t)
    run = t.dump('3', '2', **how).incremental()
    check(not told(run), f'criu was told of {told(run)} clean pages')
    check(('it cannot be made short: No space left' in run.log) == bool(how), 'the pagemap was not as it should be')
    t.restore('3')


@case
def pages_are_removed_from_the_parents(t):
    """As criu removes them alone, by the parents' own pagemaps: by a short one it would destroy other pages, or leave all."""
    scattered(t)
    before = {images: os.stat(t.path(images, 'pages-1.img')).st_blocks for images in '12'}
    run = t.dump('3', '2', '--auto-dedup', strike=f'pwrite|memfd:pagemap|1|{errno.ENOSPC}').incremental()
    check('cannot be made short' not in run.log, 'a pagemap was to be made short')
    for images, blocks in before.items():
        now = os.stat(t.path(images, 'pages-1.img')).st_blocks
        check(now < blocks, f'the pages of {images} take {now} blocks after {blocks}')
    t.restore('3')


@case
def told_where_pages_go_to_a_server(t):
    t.start_victim()
    served(t, 'pre_dump', '1').full()
    t.victim.touch()
    run = served(t, 'dump', '2', '1').incremental()
    check(told(run) == run.clean(), f'of {run.clean()} clean pages criu was told of {told(run)}')
    merge(t, '1', '2')
    t.restore('2')


@case
def told_in_pre_dumps(t):
    begin(t)
    run = t.pre_dump('2', '1').incremental()
    check(told(run) == run.clean(), f'of {run.clean()} clean pages criu was told of {told(run)}')
    end(t, '2')


@case
def none_is_omitted_without_track_mem(t):
    """Then criu leaves nothing to the parent, and its dump is whole."""
    begin(t)
    check(not t.dump('2', '1', track=False).clean(), 'pages were left to the parent')
    t.restore('2')


@case
def told_if_the_parent_has_no_pagemap(t):
    """Criu decides what that means: its dump is a full one."""
    begin(t)
    for path in glob.glob(t.path('1', 'pagemap-*.img')):
        os.rename(path, path + '.away')
    run = t.dump('2', '1')
    check(not run.clean(), f'{run.clean()} pages were left to a parent that does not have them')
    t.restore('2')


@case
def killed_before_the_images_are_completed(t):
    begin(t)
    t.start_criu('dump', '2', '1', '--track-mem', strike=f'{COMPLETING}|stop').wait_stopped().kill()
    t.victim.unharmed()
    no_images(t, '2')
    t.pre_dump('3', '1').full()
    end(t, '3')


@case
def killed_while_it_overwrites_complete_images(t):
    """An inventory of before must not make valid what this dump leaves."""
    begin(t)
    t.snapshot('2', '1').incremental()
    t.victim.touch()
    t.pre_dump('1').full()
    t.start_criu('dump', '2', '1', '--track-mem', strike=f'{COMPLETING}|stop').wait_stopped().kill()
    t.victim.unharmed()
    no_images(t, '2')
    t.pre_dump('3')
    end(t, '3')


@variants(opening=f'{COMPLETING}|{errno.EMFILE}', writing=f'pwrite|pagemap-|1|{errno.ENOSPC}')
def images_that_cannot_be_completed(t, strike):
    """The dump fails as it does when criu cannot write an image, and the process goes on."""
    begin(t)
    run = t.start_criu('dump', '2', '1', '--track-mem', strike=strike).finish().expect(1)
    run.said('cannot be completed by what the parent images have')
    t.victim.unharmed()
    no_images(t, '2')
    t.pre_dump('3', '1').full()
    end(t, '3')
