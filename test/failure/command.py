# SPDX-License-Identifier: GPL-2.0-only
"""The pagescan command: how it is called wrongly, what it finds missing; and that to others `pagescan criu` is criu."""

import json
import os
import shutil
import struct
import sys

from kit import CRIU, PAGESCAN, PLUGIN, PROGRAMS, Skip, case, check, read_text, variants

NOBODY = 65534
USAGE = {
    'nothing': [],
    'no_command': ['frobnicate'],
    'no_option': ['check', '--frobnicate'],
    'check_argument': ['check', '1'],
    'status_argument': ['status', '1'],
    'scan_nothing': ['scan'],
    'scan_two': ['scan', '1', '2'],
    'scan_no_number': ['scan', 'init'],
    'scan_trailing': ['scan', '1x'],
    'scan_negative': ['scan', '--', '-1'],
    'scan_zero': ['scan', '0'],
    'scan_too_big': ['scan', '99999999999999999999'],
    'scan_empty': ['scan', ''],
    'scan_category': ['scan', '--required', 'present,dirty', '1'],
    'scan_no_category': ['scan', '--anyof'],
    'verify_nothing': ['verify'],
    'verify_no_process': ['verify', '.'],
    'verify_no_images': ['verify', '--pid', '1'],
    'verify_no_number': ['verify', '.', '--pid', 'init'],
    'verify_two': ['verify', '.', '.', '--pid', '1'],
    'untrack_nothing': ['untrack'],
    'untrack_no_number': ['untrack', 'all'],
    'untrack_json': ['untrack', '--json', '1'],
    'untrack_zero': ['untrack', '0'],
    'untrack_all_and_more': ['untrack', '--all', '1'],
}


@variants(**USAGE)
def usage(t, args):
    run = t.pagescan(*args).expect(2)
    check(run.err and not run.out, f'stdout "{run.out}", stderr "{run.err}"')


@case
def usage_help(t):
    for args in ([], ['check'], ['status'], ['scan'], ['verify'], ['untrack'], ['keeper']):
        run = t.pagescan(*args, '--help').expect(0)
        check(run.out.startswith('Usage: pagescan') and not run.err, f'{args}: {run.out} {run.err}')
    run = t.pagescan('--version').expect(0)
    check(run.out.startswith('pagescan ') and run.out.count('\n') == 1, run.out)


@variants(check=['check'], check_json=['check', '--json'], status=['status'], status_json=['status', '--json'],
          scan=['scan', '1'], scan_json=['scan', '--json', '1'], untrack=['untrack', '--all'], help=['--help'],
          version=['--version'])
def output_that_cannot_be_written(t, args):
    with open('/dev/full', 'w') as full:
        run = t.start(PAGESCAN, *args, stdout=full).finish()
    run.expect(1)
    check(run.err, 'no message')


@variants(scan='scan', untrack='untrack')
def no_process(t, command):
    """One that does not exist; a zombie has no memory."""
    check('there is no process' in t.pagescan(command, '4194303').expect(1).err or command != 'scan', 'no message')
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    run = t.pagescan(command, str(zombie)).expect(1)
    check(('it has none' if command == 'scan' else 'is not tracked') in run.err, run.err)


def as_nobody(t, *args, **how):
    """Run the command as a user to whom root's processes are closed."""
    os.makedirs('/run/bin', exist_ok=True)
    shutil.copy(PAGESCAN, '/run/bin')
    how['env'] = {'XDG_RUNTIME_DIR': None, **how.get('env', {})}
    return t.run('/run/bin/pagescan', *args, user=NOBODY, group=NOBODY, extra_groups=[], cwd='/', **how)


@case
def no_permission(t):
    t.start_victim()
    run = as_nobody(t, 'scan', str(t.victim.pid)).expect(1)
    check(f'cannot read the memory of {t.victim.pid}: Permission denied' in run.err, run.err)
    run = as_nobody(t, 'untrack', str(t.victim.pid)).expect(1)
    check(run.err, 'no message')
    t.victim.verdict()


@case
def keeper_of_another_user(t):
    """Root's is closed to others, and they are told so where it would be theirs."""
    t.start_victim()
    t.pre_dump('1')
    t.victim.touch()
    check(as_nobody(t, 'status', '--json').expect(0).out == '[]\n', 'there is a status')
    run = as_nobody(t, 'status', '--json', env={'XDG_RUNTIME_DIR': '/run'}).expect(1)
    check('/run/pagescan' in run.err and not run.out, f'{run.out} {run.err}')
    as_nobody(t, 'untrack', '--all', env={'XDG_RUNTIME_DIR': '/run'}).expect(1)
    t.dump('2', '1').incremental()
    t.restore('2')


# Which criu is run.


def install(path, *lines):
    with open(path, 'w') as file:
        print(*lines, sep='\n', file=file)
    os.chmod(path, 0o755)


@case
def criu_is_nowhere(t):
    if any(os.path.exists(f'{path}/criu') for path in ('/usr/local/sbin', '/usr/sbin', '/sbin')):
        raise Skip('there is a criu in a sbin directory')
    run = t.pagescan('criu', 'check', env={'PAGESCAN_CRIU': None, 'PATH': t.dir}).expect(127)
    check('cannot find criu in PATH' in run.err, run.err)
    run = t.pagescan('check', env={'PAGESCAN_CRIU': None, 'PATH': t.dir}).expect(1)
    check('not found in PATH' in run.out, run.out)


@case
def criu_is_not_there(t):
    run = t.pagescan('criu', 'check', env={'PAGESCAN_CRIU': t.path('nothing')}).expect(127)
    check(f'cannot find criu at {t.path("nothing")}' in run.err, run.err)
    run = t.pagescan('criu', 'check', env={'PAGESCAN_CRIU': t.dir})
    check(run.code in (1, 127) and t.dir in run.err, f'{run.code} {run.err}')


@case
def criu_is_not_there_for_a_dump(t):
    """That is said before any memory is copied, and the process is left alone."""
    t.start_victim()
    run = t.pagescan('dump', '-t', str(t.victim.pid), '-D', t.path('images'), env={'PAGESCAN_CRIU': t.path('nothing')})
    run.expect(1).said(f'cannot find criu at {t.path("nothing")}')
    check(os.listdir(t.path('images')) == ['incomplete'], f'there is {os.listdir(t.path("images"))}')
    check(str(t.victim.pid) not in t.pagescan('status').expect(0).out.split(), 'the victim is tracked')
    t.victim.verdict()


@case
def criu_is_too_old(t):
    install(t.path('criu'), '#!/bin/sh', '[ "$1" = --version ] && echo "Version: 3.17.1" || exit 42')
    environment = {'PAGESCAN_CRIU': t.path('criu')}
    run = t.pagescan('check', env=environment).expect(1)
    check('3.17.1; 4.0 or later is needed' in run.out, run.out)
    t.pagescan('criu', 'dump', env=environment).expect(42)


@case
def criu_cannot_run(t):
    install(t.path('criu'), '#!/bin/sh', 'echo "cannot run" >&2; exit 1')
    run = t.pagescan('check', env={'PAGESCAN_CRIU': t.path('criu')}).expect(1)
    check('cannot be run' in run.out, run.out)


@case
def criu_is_a_script(t):
    """By PAGESCAN_CRIU it may be one, that runs the real one."""
    install(t.path('criu'), '#!/bin/sh', f'exec {CRIU} "$@"')
    t.environment['PAGESCAN_CRIU'] = t.path('criu')
    t.start_victim()
    t.pre_dump('1').full().silent()
    t.victim.touch()
    t.dump('2', '1').incremental()
    t.restore('2')


@case
def criu_in_path_calls_pagescan(t):
    """Such a script is passed by: what is run is the next that is a program, here one that says its arguments."""
    os.mkdir(t.path('scripts'))
    os.mkdir(t.path('programs'))
    install(t.path('scripts/criu'), '#!/bin/sh', f'exec {PAGESCAN} criu "$@"')
    shutil.copy(shutil.which('echo'), t.path('programs/criu'))
    path = f'{t.path("scripts")}:{t.path("programs")}:{os.environ["PATH"]}'
    run = t.run('criu', 'hello', env={'PAGESCAN_CRIU': None, 'PATH': path}, executable=t.path('scripts/criu')).expect(0)
    check(run.out == 'hello\n', f'{run.out} {run.err}')


@case
def criu_is_diverted(t):
    """Where dpkg-divert has put the launcher in criu's place the real one lies beside it, and is no worse than one in a
    later directory. Undiverted, what was left under that name is not criu."""
    os.mkdir(t.path('diverted'))
    os.mkdir(t.path('plain'))
    install(t.path('diverted/criu'), '#!/bin/sh', f'exec {PAGESCAN} criu "$@"')
    for program, path in (('echo', 'diverted/criu.distrib'), ('true', 'plain/criu'), ('false', 'plain/criu.distrib')):
        shutil.copy(shutil.which(program), t.path(path))
    for directories, expected in ((('diverted', 'plain'), 'hello\n'), (('plain', 'diverted'), '')):
        path = ':'.join(map(t.path, directories))
        run = t.run(t.path('diverted/criu'), 'hello', env={'PAGESCAN_CRIU': None, 'PATH': path}).expect(0)
        check(run.out == expected, f'{run.out} {run.err}')


@variants(nothing=None, users='libm.so.6')
def criu_named_is_the_launcher(t, before):
    """It is not run for ever: the second time the program in PATH is meant. What it says are its environment's
    variables, as they are without the detour."""
    install(t.path('launcher'), '#!/bin/sh', f'exec {PAGESCAN} criu "$@"')
    shutil.copy(shutil.which('env'), t.path('criu'))
    seen = []
    for wanted in (None, t.path('launcher')):
        env = {'PAGESCAN_CRIU': wanted, 'PATH': f'{t.dir}:{os.environ["PATH"]}', 'LD_PRELOAD': before}
        run = t.pagescan('criu', env=env).expect(0)
        seen.append({line for line in run.out.splitlines() if line.startswith(('LD_PRELOAD', 'PAGESCAN_', 'CRIU_'))})
    same_environment(*seen)


OTHER = '#!/bin/sh\nexec criu-next "$@"\n'
LAUNCHER = f'#!/bin/sh\nexec {PAGESCAN} criu "$@"\n'
BROKEN = '#!/bin/sh\nexec /nowhere/pagescan criu "$@"\n'


def checks(t):
    """What is told of runtimes that look in the case's directory; besides there is what the tests' criu needs."""
    if not os.path.exists(t.path('tools')):
        os.mkdir(t.path('tools'))
        for tool in ('dirname', 'readlink'):
            os.symlink(shutil.which(tool), t.path('tools', tool))
    run = t.pagescan('check', '--json', env={'PATH': f'/nowhere:{t.dir}:{t.path("tools")}'})
    return json.loads(run.out)['checks']


@variants(none=None, plain='', other=OTHER, launcher=LAUNCHER, diverted=LAUNCHER, broken=BROKEN)
def check_tells_the_criu_of_runtimes(t, text):
    """The first in PATH, program or script; for tracking it must be one that runs pagescan criu, and can be run."""
    if text == '':
        shutil.copy(shutil.which('echo'), t.path('criu'))
    elif text:
        install(t.path('criu'), text)
    diverted = t.dir.endswith('diverted')
    if diverted:
        shutil.copy(shutil.which('true'), t.path('criu.distrib'))
    item = checks(t)['runtime']
    check(item['available'] == (text == LAUNCHER), item)
    check(('criu.distrib' in item['reason']) == diverted, item)
    check(('cannot be run' in item['reason']) == (text in (OTHER, BROKEN)), item)
    check(('apt install criu-pagescan-divert' in item['reason']) == (text in (None, '')), item)
    check(item['reason'].startswith('there is no criu' if text is None else t.path('criu') + ', ') or
          'cannot be run' in item['reason'], item)


def fakes(t, **runtimes):
    """Programs of these names that know how to checkpoint, or do not."""
    for name, knows in runtimes.items():
        install(t.path(name), '#!/bin/sh', f'[ "$*" = "checkpoint --help" ] && exit {0 if knows else 1}', 'exit 42')


TAKES_RUNC = {'runc': True, 'crun': False}


@variants(none={}, runc={'runc': True}, crun_without_criu={'crun': False}, both_without={'runc': False, 'crun': False},
          runc_beside_crun=TAKES_RUNC)
def check_tells_of_runtimes(t, runtimes):
    """Through a launcher those that were built with criu make pre-checkpoints; podman does by one of them."""
    install(t.path('criu'), LAUNCHER)
    fakes(t, podman=True, **runtimes)
    found = checks(t)
    for name in ('runc', 'crun'):
        check(found[name]['available'] == runtimes.get(name, False), found[name])
        expected = ('pre-checkpoints work' if found[name]['available'] else
                    'built without criu' if name in runtimes else f'apt install {name}')
        check(expected in found[name]['reason'], found[name])
    podman = found['podman']
    check(podman['available'] == any(runtimes.values()), podman)
    check(('--runtime runc' in podman['reason']) == (runtimes == TAKES_RUNC), podman)


@variants(plain=None, broken=BROKEN, none='')
def check_tells_what_runtimes_lack(t, text):
    """No pre-checkpoint without a launcher that works, and the reason has what mends it."""
    if json.loads(t.pagescan('check', '--json').out)['checks']['soft_dirty']['available']:
        raise Skip('this kernel has soft-dirty tracking of its own')
    fakes(t, runc=True, podman=True)
    if text is None:
        os.symlink(CRIU, t.path('criu'))
    elif text:
        install(t.path('criu'), text)
    found = checks(t)
    for name in ('runc', 'podman'):
        check(not found[name]['available'], found[name])
        check(('criu --version' if text else 'apt install criu-pagescan-divert') in found[name]['reason'], found[name])


@variants(before='4.1', since='4.2')
def check_tells_that_plain_criu_hangs(t, version):
    """Where no hardware breakpoint traps, by a criu that does not find out by itself and is not told by pagescan."""
    install(t.path('criu'), '#!/bin/sh', f'echo "Version: {version}"')
    found = checks(t)
    hangs = version == '4.1' and not found['breakpoints']['available']
    check(('hangs on this machine' in found['runtime']['reason']) == hangs, found['runtime'])
    check(found['breakpoints']['available'] or 'CRIU_FAULT=130' in found['breakpoints']['reason'], found['breakpoints'])


@variants(capabilities=True, set_uid=False)
def criu_has_rights_of_its_own(t, capabilities):
    """The dynamic loader ignores LD_PRELOAD then, but not if it is root that runs it with capabilities of a file."""
    os.makedirs('/run/bin', exist_ok=True)
    for file in (PLUGIN, shutil.which('echo')):
        shutil.copy(file, '/run/bin')
    os.rename('/run/bin/echo', '/run/bin/criu')
    if capabilities:  # struct vfs_cap_data of version 2 with CAP_SYS_ADMIN
        os.setxattr('/run/bin/criu', 'security.capability', struct.pack('<5I', 0x02000001, 1 << 21, 0, 0, 0))
    else:
        os.chmod('/run/bin/criu', 0o4755)
    env = {'PAGESCAN_CRIU': '/run/bin/criu'}
    run = as_nobody(t, 'criu', 'hello', env=env).expect(0)
    check(run.out == 'hello\n' and run.err.count('\n') == 1 and 'LD_PRELOAD is ignored' in run.err, run.out + run.err)
    run = as_nobody(t, 'check', env=env).expect(1)
    check('LD_PRELOAD is ignored' in run.out, run.out)
    run = t.pagescan('criu', 'hello', env=env).expect(0)
    check(run.out == 'hello\n' and not run.err, run.out + run.err)


@case
def plugin_is_missing(t):
    if os.path.exists('/usr/lib/criu/pagescan_plugin.so'):
        raise Skip('it is installed')
    shutil.copy(PAGESCAN, t.dir)
    run = t.run(t.path('pagescan'), 'criu', 'check').expect(1)
    check('cannot find pagescan_plugin.so' in run.err, run.err)


@variants(space='a b', colon='a:b')
def plugin_in_a_path_with(t, name):
    os.mkdir(t.path(name))
    shutil.copy(PAGESCAN, t.path(name))
    shutil.copy(PLUGIN, t.path(name))
    run = t.run(t.path(name, 'pagescan'), 'criu', 'check').expect(1)
    check('must not contain a colon or a space' in run.err, run.err)


# To everybody else it is criu.


@variants(version=['--version'], nothing=[], no_command=['frobnicate'], no_option=['check', '--frobnicate'],
          check=['check'], no_process=['dump'], bad_process=['dump', '-t', 'x'],
          no_images=['restore', '-D', '/nowhere'],
          features=['check', '--feature', 'list'])
def same_as_criu(t, args):
    plain, ours = t.run(CRIU, *args), t.pagescan('criu', *args)
    check(ours.code == plain.code, f'exit status {ours.code}, not {plain.code}')
    check(ours.out == plain.out, f'stdout "{ours.out}", not "{plain.out}"')


def environment_of_script(t, name):
    """A script that keeps the environment it is run with, and how to read that; less what criu sets for scripts."""
    install(t.path(f'{name}.sh'), '#!/bin/sh', f'env -0 >{t.path(name)}.env')

    def seen():
        entries = read_text(t.path(f'{name}.env')).split('\0')
        return {entry for entry in entries if not entry.startswith(('CRTOOLS_', 'PWD=', '_='))}
    return ['--action-script', t.path(f'{name}.sh')], seen


def same_environment(plain, ours):
    check(plain and ours == plain, f'more: {ours - plain}, less: {plain - ours}')


@variants(nothing=None, users=os.path.join(PROGRAMS, 'strike.so'), users_list=f'{PROGRAMS}/strike.so:libm.so.6')
def environment_of_scripts(t, before):
    """What criu runs has the environment that criu was given: nothing of ours in it."""
    t.start_victim()
    found = []
    for name, plain in (('plain', True), ('ours', False)):
        options, seen = environment_of_script(t, name)
        run = t.criu('dump', name, None, '--leave-running', *options, plain=plain, env={'LD_PRELOAD': before})
        check('cannot be preloaded' not in run.err, run.err)
        found.append(seen())
    same_environment(*found)
    t.victim.verdict()


@case
def environment_of_scripts_at_restore(t):
    """The command may be used for restore, too."""
    t.start_victim()
    found = []
    for name, plain in (('plain', True), ('ours', False)):
        t.dump(name)
        options, seen = environment_of_script(t, name)
        t.criu('restore', name, None, '-d', *options, plain=plain)
        t.victim.touch()
        found.append(seen())
    same_environment(*found)
    t.victim.verdict()


@case
def users_preload_reaches_criu(t):
    """Told by what strike.so does."""
    t.start_victim()
    run = t.start_criu('pre-dump', '1', strike='write|Pre-dumping tasks|1|stop').wait_stopped()
    maps = read_text(f'/proc/{run.process.pid}/maps')
    check('strike.so' in maps and 'pagescan_plugin.so' in maps, maps)
    run.go_on().expect(0)
    t.victim.verdict()


@case
def standard_streams_are_closed(t):
    """No descriptor of ours takes the place of one that criu was not given."""
    t.start_victim()
    os.mkdir(t.path('1'))
    command = [PAGESCAN, 'criu', 'pre-dump', '-t', str(t.victim.pid), '-D', t.path('1'), '-o', t.path('log'), '-v4']
    close = 'import os, sys; [os.close(fd) for fd in (0, 1, 2)]; os.execv(sys.argv[1], sys.argv[1:])'
    t.run(sys.executable, '-c', close, *command).expect(0)
    t.victim.touch()
    t.dump('2', '1').incremental()
    t.restore('2')
