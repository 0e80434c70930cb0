# SPDX-License-Identifier: GPL-2.0-only
"""What an administrator does: install the packages that `make deb` has built, use the runtimes, remove the packages. The
Debian in which that is done is the case's own, and nothing but the packages has a runtime find pagescan."""

import contextlib
import glob
import json
import os

from containers import BUILD, HERE, check
from kit import variants
import oci
import podman

KIT = os.path.join(os.path.dirname(HERE), 'packages', 'kit')
PACKAGES = 'criu-pagescan', 'criu-pagescan-divert'


def picture(t):
    """Every file of the system, less what apt and podman keep for themselves; and what criu says of itself."""
    files = t.run('sh', '-c', f'. {KIT}; picture').splitlines()
    return {*(line for line in files if '/var/lib/containers' not in line), t.run('criu', '--version'),
            t.run('criu', 'check', '--feature', 'mem_dirty_track', code=None)}


@contextlib.contextmanager
def packages(t, *runtimes):
    """They are there, and `pagescan check` says that these runtimes will work. Then they are removed, and everything is as
    it was, bit for bit."""
    before = picture(t)
    t.run('apt-get', 'install', '-y', '-qq', *(path for name in PACKAGES
                                               for path in glob.glob(os.path.join(BUILD, 'deb', f'{name}_*.deb'))))
    found = json.loads(t.run('/usr/sbin/pagescan', 'check', '--json'))['checks']
    for name in ('runtime', 'runtime_bare', *runtimes):
        check(found[name]['available'], f'{name}: {found[name]["reason"]}')
    yield
    t.run('apt-get', 'purge', '-y', '-qq', *PACKAGES)
    after = picture(t)
    check(after == before, f'gone: {sorted(before - after)[:3]}, new: {sorted(after - before)[:3]}')


@variants(runc='runc', crun='crun')
def installed(t, runtime):
    """redis-server under load in a container: five rounds, a dump, a restore."""
    with packages(t, runtime):
        oci.redis(t, runtime)


@variants(podman='crun', podman_over_runc='runc')
def installed_and(t, runtime):
    """podman over its default runtime, and over the other one: redis-server, made anew from both archives."""
    with packages(t, runtime, 'podman'):
        podman.redis_podman(t, runtime)
