# SPDX-License-Identifier: GPL-2.0-only
"""pagescan verify and PAGESCAN_VERIFY=1: silent about good images; images that are not what a page called clean needs
are found, and the run fails with CRIU's ordinary error."""

import glob
import os
import re
import signal

from kit import case, check, variants

AUDITED = {'PAGESCAN_VERIFY': '1'}
PREAD = {'CRIU_FAULT': '135'}
PAGE = 4096


def begin(t, *roles):
    t.start_victim(*roles)
    t.pre_dump('1', env=AUDITED).full().silent()
    t.victim.touch()


def stopped(t):
    os.kill(t.victim.pid, signal.SIGSTOP)


def verify(t, images, code=0):
    return t.pagescan('verify', t.path(images), '--pid', str(t.victim.pid)).expect(code)


def damage(t, images):
    """One byte of every page that these images hold, its last one."""
    for path in glob.glob(t.path(images, 'pages-*.img')):
        with open(path, 'r+b') as file:
            pages = bytearray(file.read())
            for at in range(PAGE - 1, len(pages), PAGE):
                pages[at] ^= 0x10
            file.seek(0)
            file.write(pages)


@variants(ioctl={}, pread=PREAD)
def audited_chain(t, environment):
    environment = {**AUDITED, **environment}
    begin(t)
    run = t.pre_dump('2', '1', env=environment).incremental().said('clean pages were verified, 0 differ, 0 are missing')
    # Some more than once: where CRIU's cache ends inside an area, it asks about that area again (pmc_fill_cache).
    verified = int(re.search(r'(\d+) clean pages were verified', run.log).group(1))
    check(verified >= run.clean(), f'of {run.clean()} clean pages {verified} were verified')
    t.victim.touch()
    t.snapshot('3', '2', env=environment).incremental().said('0 differ, 0 are missing')
    t.victim.touch()
    t.dump('4', '3', env=environment).incremental().said('0 differ, 0 are missing')
    t.restore('4')


@case
def audited_chain_of_two_processes(t):
    begin(t, 'child')
    run = t.pre_dump('2', '1', env=AUDITED).incremental()
    check(run.log.count('clean pages were verified, 0 differ') == 2, 'not both were verified')
    t.dump('3', '2', env=AUDITED).incremental()
    t.restore('3')


@variants(pre_dump=('pre-dump', {}), dump=('dump', {}), pread=('pre-dump', PREAD))
def audit_finds_wrong_bytes(t, how):
    """The task goes on, and the good images of the round before are still a parent."""
    action, environment = how
    begin(t)
    damage(t, '1')
    # Not by t.criu(), to which a BUG is the plugin's own.
    run = t.start_criu(action, '2', '1', '--track-mem', env={**AUDITED, **environment}).finish().expect(1)
    run.said('BUG', 'a page was called clean, but page', 'differs from its images: byte 4095')
    t.victim.unharmed()
    damage(t, '1')  # that is: as before
    t.pre_dump('3', '1', env=AUDITED).incremental()
    t.dump('4', '3').incremental()
    t.restore('4')


@case
def audit_without_images(t):
    """As where they went to a page server."""
    begin(t)
    for path in glob.glob(t.path('1', 'pagemap-*.img')):
        os.rename(path, path + '.away')
    t.criu('pre-dump', '2', '1', env=AUDITED, code=1).said('the parent images cannot be verified: pagemap-')
    t.victim.unharmed()
    t.pre_dump('3').full()
    t.dump('4', '3').incremental()
    t.restore('4')


@case
def verify_good_images(t):
    begin(t)
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    stopped(t)
    out = verify(t, '2').out
    check(out.endswith(' clean pages compared, 0 differ, 0 are missing\n') and int(out.split()[1]) > 1000, out)
    os.kill(t.victim.pid, signal.SIGCONT)
    t.dump('3', '2').incremental()
    t.restore('3')


@case
def verify_wrong_images(t):
    begin(t)
    stopped(t)
    damage(t, '1')
    run = verify(t, '1', 1)
    check('differs from its images: byte 4095' in run.err, run.err)
    words = run.out.split()
    check(words[1] == words[5] and int(words[1]) > 1000, run.out)


@case
def verify_refuses(t):
    """What it cannot tell it says, and why."""
    begin(t)
    run = verify(t, '1', 1)
    check(f'{t.victim.pid} runs: stop it first' in run.err, run.err)
    stopped(t)
    run = t.pagescan('verify', t.path('nowhere'), '--pid', str(t.victim.pid)).expect(1)
    check('cannot open' in run.err, run.err)
    run = verify(t, '.', 1)
    check('cannot read pagescan.img: No such file' in run.err, run.err)
    os.kill(t.victim.pid, signal.SIGCONT)
    t.pre_dump('2', '1')
    stopped(t)
    run = verify(t, '1', 1)
    check('the parent images are of epoch 1, the tracker is at 2' in run.err, run.err)
    t.pagescan('untrack', '--all').expect(0)
    run = verify(t, '2', 1)
    check('is lost' in run.err or 'not tracked' in run.err, run.err)
    check('there is no process' in t.pagescan('verify', t.dir, '--pid', '4194303').expect(1).err, 'no message')
    os.kill(t.victim.pid, signal.SIGCONT)
    t.pre_dump('3').full()
    t.dump('4', '3').incremental()
    t.restore('4')
