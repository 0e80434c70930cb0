# SPDX-License-Identifier: GPL-2.0-only
"""Cases that need no tree: one version everywhere, one list of the library's functions, and what `make install` puts
where `make uninstall` finds it."""

import os
import re
import shutil
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIR = os.path.join(TOP, 'build', 'packages', 'quick')
CRIU = os.environ.get('PAGESCAN_CRIU') or os.path.join(TOP, 'build', 'criu', 'criu')
CASES = {}


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def case(function):
    CASES[function.__name__.replace('_', '-')] = function
    return function


def check(condition, message):
    if not condition:
        raise Failure(message)


def read(*path):
    with open(os.path.join(TOP, *path), errors='replace') as file:
        return file.read()


def version():
    return re.search(r'^VERSION := (.*)$', read('Makefile'), re.M).group(1)


def make(*args, code=0):
    """Without the flags of the make that runs the tests."""
    environment = {name: value for name, value in os.environ.items() if name not in ('MAKEFLAGS', 'MFLAGS')}
    result = subprocess.run(['make', '-s', '-C', TOP, *args], env=environment, capture_output=True, text=True)
    check(result.returncode == code, f'make {" ".join(args)} ended with {result.returncode}: {result.stderr[-600:]}')
    return result.stdout + result.stderr


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def empty():
    shutil.rmtree(DIR, ignore_errors=True)
    os.makedirs(DIR)
    return DIR


def files(directory):
    return sorted(os.path.relpath(os.path.join(path, name), directory)
                  for path, _, names in os.walk(directory) for name in names)


@case
def one_version():
    """The Makefile's; what cannot take it from there says the same."""
    places = {
        'CHANGELOG.md': r'^## (\S+?),? ',
        'debian/changelog': r'^criu-pagescan \((\S+)\)',
        'packaging/criu-pagescan.spec': r'^Version: +(\S+)$',
    }
    for page in os.listdir(os.path.join(TOP, 'docs', 'man')):
        places[f'docs/man/{page}'] = r'^\.TH .*"pagescan (\S+)"'
    for path, pattern in places.items():
        found = re.search(pattern, read(path), re.M)
        check(found and found.group(1) == version(), f'{path} says {found and found.group(1)}, not {version()}')


@case
def one_list_of_functions():
    """What the header declares is what the library exports, a package promises, and the manual describes."""
    make('library')
    declared = set(re.findall(r'^\w[\w ]*?[ *](pagescan_\w+)\(', read('criu/include/pagescan.h'), re.M))
    library = os.path.join(TOP, 'build', 'lib', f'libpagescan.so.0.{version()}')
    exported = tool('nm', '-D', '--defined-only', library)
    lists = {
        'libpagescan.so.0': set(re.findall(r' T (\w+)@@PAGESCAN_\d+$', exported, re.M)),
        'libpagescan0.symbols': set(re.findall(r'^ (pagescan_\w+)@', read('debian/libpagescan0.symbols'), re.M)),
        'pagescan.3': set(re.findall(r'\b(pagescan_\w+)\(', read('docs/man/pagescan.3'))),
    }
    check(len(declared) > 5, 'the header declares next to nothing')
    for name, found in lists.items():
        check(found == declared, f'{name} lacks {declared - found}, has {found - declared} too much')
    check('soname: [libpagescan.so.0]' in tool('readelf', '-d', library), 'the soname is another')


@case
def installed_and_uninstalled():
    """Everything that is installed, a second time too, goes again; without LAUNCHERDIR there is no criu."""
    root = empty()
    for launcher in ([], ['LAUNCHERDIR=/usr/local/sbin']):
        place = [f'DESTDIR={root}', 'LIBDIR=/usr/lib/somewhere', *launcher]
        for _ in range(2):
            make('install', 'install-dev', *place)
        found = files(root)
        check('usr/sbin/pagescan' in found and 'usr/lib/somewhere/libpagescan.so.0' in found, found)
        criu = [path for path in found if os.path.basename(path) == 'criu']
        check(criu == (['usr/local/sbin/criu'] if launcher else []), found)
        make('uninstall', 'uninstall-dev', *place)
        check(not files(root), f'left behind: {files(root)}')


@case
def launcher_runs_criu():
    """Installed elsewhere, it is to its callers the criu that is there, with the plugin beside it."""
    if not os.path.exists(CRIU):
        raise Skip(f'there is no {CRIU}')
    prefix = empty()
    place = [f'PREFIX={prefix}', f'LAUNCHERDIR={prefix}/bin', 'O=' + os.path.join(prefix, 'o')]
    make('install', *place)
    told = [subprocess.run([*command, '--version'], env={'PATH': '/usr/bin:/bin', 'PAGESCAN_CRIU': CRIU},
                           capture_output=True, text=True) for command in ([CRIU], [f'{prefix}/bin/criu'])]
    check(told[0].stdout == told[1].stdout and 'Version' in told[0].stdout, f'{told[0]}, {told[1]}')
    check(not told[1].stderr, told[1].stderr)


@case
def launcher_replaces_no_criu():
    """Neither make install nor make uninstall touches a criu that is not the launcher."""
    root = empty()
    os.makedirs(f'{root}/usr/sbin')
    with open(f'{root}/usr/sbin/criu', 'w') as file:
        file.write('the real one\n')
    place = [f'DESTDIR={root}', 'LAUNCHERDIR=/usr/sbin']
    check('is there and not the launcher' in make('install', *place, code=2), 'no message')
    make('uninstall', *place)
    check(files(root) == ['usr/sbin/criu'] and read(root, 'usr/sbin/criu') == 'the real one\n', files(root))


@case
def release_tarball():
    """It holds what git has, under the version's name."""
    if subprocess.run(['git', '-C', TOP, 'rev-parse'], capture_output=True).returncode:
        raise Skip('this is no git checkout')
    name = make('dist').strip()
    check(name.endswith(f'/criu-pagescan-{version()}.tar.gz'), name)
    held = tool('tar', '-tf', os.path.join(TOP, name))
    tracked = tool('git', '-C', TOP, 'ls-tree', '-r', '--name-only', 'HEAD')
    prefix = f'criu-pagescan-{version()}/'
    check({path for path in held.split('\n') if path and not path.endswith('/')} ==
          {prefix + path for path in tracked.split('\n') if path}, 'it holds something else')
