# SPDX-License-Identifier: GPL-2.0-only
"""What criu believes of the kernel, with and without the plugin; and where the plugin has to stand aside."""

import json
import os
import shutil
import struct

from chains import begin, end
from command import environment_of_script
from kit import BUILD, CRIU, PLUGIN, PRIVATE_CRIU, PROGRAMS, ROOT, Skip, case, check, needs_zero_page, variants

FEATURE = 'check', '--feature', 'mem_dirty_track'
LACKING = {
    'scan': 'this kernel has no PAGEMAP_SCAN',
    'uffd': 'this kernel has no asynchronous userfaultfd write-protection',
}


def without_soft_dirty(t):
    """These cases tell plain criu from ours by what only ours can do."""
    if json.loads(t.pagescan('check', '--json').out)['checks']['soft_dirty']['available']:
        raise Skip('this kernel has soft-dirty tracking of its own')


def plain_feature(t):
    check(t.run(CRIU, *FEATURE).code == 1, 'plain criu believes in memory tracking')


def our_feature(t):
    run = t.pagescan('criu', *FEATURE).expect(0)
    check('mem_dirty_track is supported' in run.out + run.err, f'it says {run.out} {run.err}')


@variants(plain_first=(plain_feature, our_feature), ours_first=(our_feature, plain_feature))
def feature_cache(t, order):
    """Each has a cache of its own in /run, which neither reads of the other's."""
    without_soft_dirty(t)
    for ask in (*order, *order):
        ask(t)
    check({'criu.kdat', 'pagescan-criu.kdat'} <= set(os.listdir('/run')), f'caches: {os.listdir("/run")}')
    t.start_victim()
    t.pre_dump('1').full().silent()
    end(t, '1')


@case
def feature_cache_of_a_dump(t):
    """Rounds fill the caches too: plain criu refuses tracking as before."""
    without_soft_dirty(t)
    begin(t)
    t.criu('dump', 'plain', None, '--track-mem', '--leave-running', plain=True, code=1)
    t.victim.unharmed()
    t.criu('dump', 'plain', None, '--leave-running', plain=True)
    t.pre_dump('2', '1').incremental()
    end(t, '2')


@case
def loaded_by_criu_alone(t):
    """As an installed plugin, not preloaded, on a kernel where criu has already seen that there is no tracking."""
    without_soft_dirty(t)
    t.start_victim()
    t.criu('dump', '1', plain=True, env={'CRIU_LIBS_DIR': BUILD}).said(
        'standing aside', 'on a kernel without soft-dirty criu has to be run by `pagescan criu`')
    t.victim.wait_dumped()
    t.restore('1')


def copied(t):
    os.mkdir(t.path('plugins'))
    shutil.copy(PLUGIN, t.path('plugins'))
    return t.path('plugins')


def empty(t):
    os.mkdir(t.path('plugins'))
    return t.path('plugins')


@variants(same=lambda t: BUILD, copy=copied, empty=empty)
def plugin_directory(t, make):
    """Preloaded, and in the plugin directory as well: there is one device. Or not there: it works all the same."""
    t.environment['CRIU_LIBS_DIR'] = make(t)
    begin(t)
    t.pre_dump('2', '1').incremental()
    end(t, '2')


def lacking(t, what):
    """The start of a command on a kernel that lacks it."""
    return [os.path.join(PROGRAMS, 'refuse'), what]


@variants(scan='scan', uffd='uffd')
def kernel_that_lacks(t, what):
    """criu goes on as it would alone, with one warning; what was tracked before still is, later."""
    without_soft_dirty(t)
    begin(t)
    wrap = lacking(t, what)
    for action, args in (('dump', ['--leave-running']), ('dump', ['--leave-running', '--track-mem']),
                         ('pre-dump', [])):
        plain = t.criu(action, 'plain', None, *args, plain=True, wrap=wrap, code=None)
        t.victim.unharmed()
        ours = t.criu(action, 'ours', None, *args, wrap=wrap, code=None)
        t.victim.unharmed()
        check((ours.code, ours.out) == (plain.code, plain.out),
              f'{action} {args}: {ours.code} {ours.out}, not {plain.code} {plain.out}')
        if 'pagescan' in ours.log or ours.code == 0:
            ours.said(LACKING[what])
            check(ours.log.count('standing aside') == 1, f'{ours.log.count("standing aside")} warnings')
        shutil.rmtree(t.path('ours'))
        shutil.rmtree(t.path('plain'))
    t.pre_dump('2', '1').incremental()
    end(t, '2')


@variants(scan='scan', uffd='uffd')
def dump_on_a_kernel_that_lacks(t, what):
    if what == 'scan':
        needs_zero_page()
    t.start_victim()
    t.criu('dump', '1', wrap=lacking(t, what)).said(LACKING[what])
    t.victim.wait_dumped()
    t.restore('1')


def criu_with(t, change):
    """A copy of criu in which something is changed; where it runs in a tree of its own, with that."""
    program = os.path.realpath(CRIU)
    changed = t.path('criu')
    if os.path.exists(os.path.dirname(program) + '/tree'):
        shutil.copy(program, t.path('criu'))
        program, changed = os.path.dirname(program) + '/tree/usr/sbin/criu', t.path('tree/usr/sbin/criu')
        os.makedirs(os.path.dirname(changed))
        os.symlink(os.path.dirname(program) + '/../lib', t.path('tree/usr/lib'))
    shutil.copy(program, changed)
    with open(changed, 'r+b') as file:
        elf = bytearray(file.read())
        change(elf)
        file.seek(0)
        file.write(elf)
    return t.path('criu')


def renamed(old, new):
    """Another name in the symbol table, no longer than the one that was there."""
    def change(elf):
        names = [b'\0' + name.encode().ljust(len(old), b'\0') + b'\0' for name in (old, new)]
        check(elf.count(names[0]) == 1, f'{elf.count(names[0])} names are {old}')
        at = elf.index(names[0])
        elf[at:at + len(names[0])] = names[1]
    return change


def fewer_hooks(elf):
    """The size of the table of hooks, as exported, is that of CRIU 3.17. See elf(5)."""
    at, (size, nr) = struct.unpack_from('<Q', elf, 40)[0], struct.unpack_from('<HH', elf, 58)
    sections = [struct.unpack_from('<IIQQQQIIQQ', elf, at + i * size) for i in range(nr)]
    symbols = next(section for section in sections if section[1] == 11)  # SHT_DYNSYM
    names = sections[symbols[6]][4]
    for at in range(symbols[4], symbols[4] + symbols[5], symbols[9]):
        name = names + struct.unpack_from('<I', elf, at)[0]
        if elf[name:elf.index(0, name)] == b'cr_plugin_ctl':
            struct.pack_into('<Q', elf, at + 16, 0xb0)
            return
    check(False, 'no symbol cr_plugin_ctl')


@variants(import_slot=(renamed('unlink', 'rmdir'), 'the executable does not import unlink'),
          export=(renamed('compel_cure_local', 'compel_cure_other'),
                  'the executable does not export compel_cure_local'),
          hook=(fewer_hooks, 'CRIU 4.0 or later is needed'))
def criu_that_lacks(t, what):
    """A criu of another version, which the plugin does not know: it goes on alone, and its log says why."""
    change, why = what
    t.start_victim()
    t.environment['PAGESCAN_CRIU'] = criu_with(t, change)
    options, seen = environment_of_script(t, 'ours')
    run = t.criu('dump', '1', None, *options).said(f'standing aside, criu goes on alone: {why}')
    check(run.log.count('standing aside') == 1 and not os.path.exists(t.path('1/pagescan.img')), 'it has not')
    check(seen() and not any('pagescan' in entry for entry in seen()), f'scripts get {seen()}')
    t.victim.wait_dumped()
    t.restore('1')


@case
def criu_upgraded_between_rounds(t):
    """The chain goes on. (Not the other way: criu before 4.2 reads no pages in pagemaps of a later one, and says so.)"""
    newer = os.path.join(ROOT, 'build/criu-next/criu')
    if not os.path.exists(newer) or not os.path.exists(PRIVATE_CRIU):
        raise Skip('there is no second criu (scripts/setup forky build/criu-next)')
    t.environment['PAGESCAN_CRIU'] = PRIVATE_CRIU
    begin(t)
    t.environment['PAGESCAN_CRIU'] = newer
    t.pre_dump('2', '1').incremental()
    t.victim.touch()
    t.dump('3', '2').incremental()
    t.criu('restore', '3', None, '-d')
    t.victim.verdict()


@case
def check_tells_of_a_plain_restore(t):
    """A destination with such a criu can hold nothing ready."""
    t.environment['PAGESCAN_CRIU'] = criu_with(t, renamed('mremap', 'munmap'))
    run = t.pagescan('check', '--json').expect(0)
    item = json.loads(run.out)['checks']['warm']
    check(not item['available'] and 'criu does not import mremap' in item['reason'], item)


@variants(scan='scan', uffd='uffd')
def check_on_a_kernel_that_lacks(t, what):
    """pagescan check says no, and why; criu check is plain criu's."""
    wrap = lacking(t, what)
    run = t.run(*wrap, os.path.join(BUILD, 'pagescan'), 'check', '--json').expect(1)
    answer = json.loads(run.out)
    item = answer['checks'][{'scan': 'pagemap_scan', 'uffd': 'wp_async'}[what]]
    check(not answer['usable'] and not item['available'], f'it says {run.out}')
    check(answer['checks']['holes_written']['reason'] == 'cannot be tried', f'it says {run.out}')
    plain = t.run(*wrap, CRIU, *FEATURE)
    ours = t.run(*wrap, os.path.join(BUILD, 'pagescan'), 'criu', *FEATURE)
    check((ours.code, ours.out) == (plain.code, plain.out), f'{ours.code} {ours.out}, not {plain.code} {plain.out}')


@case
def other_tracker(t):
    """Asked for soft-dirty the plugin leaves criu alone, whatever the kernel has; and then goes on where it was."""
    begin(t)
    chosen = {'PAGESCAN_TRACKER': 'soft-dirty'}
    plain = t.criu('dump', 'plain', None, '--leave-running', plain=True)
    ours = t.criu('dump', 'ours', None, '--leave-running', env=chosen).said('standing aside', 'PAGESCAN_TRACKER')
    check(ours.out == plain.out, f'{ours.out}, not {plain.out}')
    plain, ours = t.run(CRIU, *FEATURE), t.pagescan('criu', *FEATURE, env=chosen)
    check((ours.code, ours.out) == (plain.code, plain.out), f'{ours.code} {ours.out}, not {plain.code} {plain.out}')
    t.victim.touch()
    t.criu('pre-dump', '2', '1', env={'PAGESCAN_TRACKER': 'none'}).said('neither uffd nor soft-dirty')
    t.pre_dump('3', '2').incremental()
    end(t, '3')
