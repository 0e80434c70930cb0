# SPDX-License-Identifier: GPL-2.0-only
"""What a machine lacks for the suite, what the suite wants of it, and what criu itself does not do."""

import contextlib
import fnmatch
import os
import re
import subprocess

NR_HUGEPAGES = '/proc/sys/vm/nr_hugepages'
HUGEPAGES = 20  # zdtm.py wants as many
CAP_SYS_RESOURCE = 24

# Of a case that criu alone does not pass here: what its output says, and what that means.
LACKING = [
    (r"Can't get rlimit", 'needs CAP_SYS_RESOURCE, to dump a process of another user'),
    (r"Can't get 1:(16|34) opt: Operation not supported",
     'needs criu 4.2, for sockets on Linux 6.16 and later (SO_PASSCRED, SO_PASSSEC)'),
    (r"iptables.*(not found|No such file)", 'needs iptables'),
]
HARMLESS = 'RLIMIT_NOFILE|No parent image found'  # criu calls them errors, and goes on


def other_users_can_be_dumped():
    """CRIU asks for their limits, which prlimit(2) tells of a process of another uid with this capability only."""
    with open('/proc/self/status') as status:
        return bool(int(re.search(r'CapEff:\s*(\S+)', status.read())[1], 16) >> CAP_SYS_RESOURCE & 1)


def why(log):
    """In a few words, why a case failed: what the machine lacks, or zdtm.py's, criu's and the program's own words."""
    text = '\n'.join(log)
    for pattern, meaning in LACKING:
        if re.search(pattern, text):
            return meaning
    said = re.findall(r'FAIL at (.*?) #*$|^upstream: (.*)|(timed out after .*)', text, re.MULTILINE)[-1:]
    said = [''.join(words) for words in said] or [log[-1]]
    said += [line for line in re.findall(r'Error \([^)]*\): (.*)', text) if not re.search(HARMLESS, line)][:1]
    said += re.findall(r'((?:ERR|FAIL): .*)', text)[-1:]
    return '; '.join(words.strip('\'" ') for words in said)[:300]


class Exceptions:
    """Lines of a file: CASE MODES FLAVOURS REASON, the first three shell patterns, modes and flavours with commas."""

    def __init__(self, path):
        with open(path) as file:
            self.entries = [line.split(None, 3) for line in file if line.strip() and not line.startswith('#')]

    def get(self, mode, flavour, case):
        for name, modes, flavours, reason in self.entries:
            if fnmatch.fnmatch(case, name) and any(fnmatch.fnmatch(mode, word) for word in modes.split(',')) and \
                    any(fnmatch.fnmatch(flavour, word) for word in flavours.split(',')):
                return reason.strip()
        return None


def read_number(path):
    with open(path) as file:
        return int(file.read())


def add_hugepages(number):
    """Others may change it meanwhile, so a difference it is."""
    with contextlib.suppress(OSError):
        now = read_number(NR_HUGEPAGES)
        with open(NR_HUGEPAGES, 'w') as file:
            file.write(str(max(0, now + number)))


def cgroups(suite, script):
    """The suite's own cgroup hierarchies. They are the whole machine's, so they are made once and not for each case."""
    subprocess.run(['unshare', '--mount', '--propagation', 'private', f'./{script}', str(os.getpid())], cwd=suite,
                   check=False)


@contextlib.contextmanager
def made_ready(suite):
    add_hugepages(HUGEPAGES)
    cgroups(suite, 'zdtm_mount_cgroups')
    try:
        yield
    finally:
        cgroups(suite, 'zdtm_umount_cgroups')
        add_hugepages(-HUGEPAGES)
