# SPDX-License-Identifier: GPL-2.0-only
"""Two hosts on one machine, a and b, for a test that moves processes from one to the other.

A host is a set of namespaces: processes, mounts, network, host name; with /proc, /run and /tmp of its own, the rest of
the file system is the machine's. A cable joins them (a.address, b.address), and nothing else knows of it. In b Debian's
sshd listens, with a configuration and keys that lie in the test's directory; `hosts.rsh` followed by the name b is the
command that reaches it from a. Pids in a begin above FIRST_PID, in b they begin at 2: what comes from a finds its pid
free in b.

Hosts end with the context and with the process that made them, whatever ends it, and all their processes with them.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'failure'))
from kit import ROOT, TIMEOUT, Failure, Skip, check, read_text, wait  # noqa: E402

FIRST_PID = 20000
SSHD = os.path.join(ROOT, 'build/sshd')  # a tree that scripts/setup makes
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x20000000, 0x40000000
NOT_PIDS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET
LACKING = 'qdisc kind is unknown', 'Unknown device type', 'not supported'

# Process 1 of a host. It ends with its input; and as it ignores SIGCHLD, no orphan stays a zombie.
INIT = '''
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
echo "$1" >/proc/sys/kernel/hostname
echo "$2" >/proc/sys/kernel/ns_last_pid
echo ready
exec env --ignore-signal=CHLD cat >/dev/null
'''

# sshd's own user, directory and helper programs, and a root that may log in whatever the machine's root may.
START_SSHD = '''
set -e
mkdir /run/sshd
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
mount --bind "$2/usr/lib/openssh" /usr/lib/openssh
LD_LIBRARY_PATH=$(echo "$2"/usr/lib/*-linux-gnu) exec "$2/usr/sbin/sshd" -D -f "$1/sshd_config" -E "$1/sshd.log"
'''

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(libc, name)(*args):
        raise OSError(ctypes.get_errno(), f'{name}: {os.strerror(ctypes.get_errno())}')


class Host:
    def __init__(self, name, address, last_pid):
        self.name, self.address, self.processes = name, address, []
        self.own = os.pidfd_open(os.getpid())
        with self.children_in('unshare', CLONE_NEWPID):
            self.init = subprocess.Popen(['sh', '-c', INIT, 'init', name, str(last_pid)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, preexec_fn=lambda: call('unshare', NOT_PIDS))
        self.pidfd = os.pidfd_open(self.init.pid)
        check(self.init.stdout.readline(), f'host {name} cannot be made')

    @contextlib.contextmanager
    def children_in(self, *change):
        """What this thread forks meanwhile is in the process namespace that the call changes to."""
        call(*change)
        try:
            yield
        finally:
            call('setns', self.own, CLONE_NEWPID)

    def popen(self, command, cwd='/', **how):
        """As subprocess.Popen, in this host. The process is a child of ours, with the pid that we see it by. Files that
        it is to keep through a dump it has to open itself: ours are of mounts that the host does not have.
        """
        def enter():
            call('setns', self.pidfd, NOT_PIDS)
            os.chdir(cwd)
            if 'stdin' not in how:
                os.dup2(os.open('/dev/null', os.O_RDONLY), 0)

        with self.children_in('setns', self.pidfd, CLONE_NEWPID):
            process = subprocess.Popen(command, preexec_fn=enter, **how)
        self.processes.append(process)
        return process

    def run(self, command, timeout=TIMEOUT, code=0, **how):
        """The output of a command that ends with this exit code; with any, where that is None."""
        process = self.popen(command, **{'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, **how})
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f'{self.name}: {" ".join(command)}: not done within {timeout} s') from None
        check(code in (None, process.returncode),
              f'{self.name}: {" ".join(command)} exited with {process.returncode}, not {code}: {err}')
        return out

    def pid(self, process):
        """The pid that a process of popen has in this host."""
        return self.pid_of(process.pid)

    def pid_of(self, pid):
        """The pid in this host of one that we see by `pid`."""
        return int(read_text(f'/proc/{pid}/status').partition('NSpid:')[2].split()[1])

    def disk(self, path, mib):
        """An empty file system of so many MiB at this path, in this host alone."""
        self.run(['mkdir', '-p', path])
        self.run(['mount', '-t', 'tmpfs', '-o', f'size={mib}m', 'tmpfs', path])

    def network(self, *command):
        """A command that makes or changes the network: what the kernel does not have is a reason to skip."""
        done = subprocess.run(['nsenter', f'--net=/proc/{self.init.pid}/ns/net', *command], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        if done.returncode:
            lacking = any(text in done.stderr for text in LACKING)
            raise (Skip if lacking else Failure)(f'`{" ".join(command)}`: {" ".join(done.stderr.split())}')

    def close(self):
        """Process 1 takes all others along, but ends only when those that are children of ours are reaped."""
        self.init.kill()
        for process in self.processes:
            process.wait()
        self.init.communicate()
        os.close(self.pidfd)
        os.close(self.own)


class Hosts:
    def __init__(self, directory):
        """`directory`: where both hosts see it, so not in /run or /tmp."""
        self.dir = os.path.join(os.path.abspath(directory), 'hosts')
        self.rsh = ['ssh', '-F', self.path('config')]
        self.stack = contextlib.ExitStack()

    def path(self, name):
        return os.path.join(self.dir, name)

    def __enter__(self):
        lacking = [name for name in ('ip', 'tc', 'ssh', 'ssh-keygen') if not shutil.which(name)]
        if lacking or not os.path.exists(os.path.join(SSHD, '.complete')):
            raise Skip(f'scripts/setup could not install {", ".join(lacking or ["openssh-server"])}')
        check(not self.dir.startswith(('/run/', '/tmp/')), f'{self.dir}: each host has a /run and a /tmp of its own')
        os.mkdir(self.dir)
        with contextlib.ExitStack() as stack:
            self.a = Host('a', '10.77.0.1', FIRST_PID)
            stack.callback(self.a.close)
            self.b = Host('b', '10.77.0.2', 1)
            stack.callback(self.b.close)
            self.a.network('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'eth0', 'netns', str(self.b.init.pid))
            for host in self.a, self.b:
                host.network('ip', 'address', 'add', f'{host.address}/24', 'dev', 'eth0')
                host.network('ip', 'link', 'set', 'lo', 'up')
                host.network('ip', 'link', 'set', 'eth0', 'up')
            self.configure()
            self.sshd = self.b.popen(['sh', '-c', START_SSHD, 'sshd', self.dir, SSHD])
            wait(lambda: read_text(self.path('sshd.pid')) or self.sshd.poll() is not None, 'start of sshd')
            check(self.sshd.poll() is None, f'sshd has ended: {read_text(self.path("sshd.log"))}')
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def configure(self):
        for name in 'host_key', 'key':
            subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', self.path(name)], check=True)
        files = {
            'known_hosts': f'b {read_text(self.path("host_key.pub"))}',
            'config': f'''Host b
                HostName {self.b.address}
                HostKeyAlias b
                User root
                BatchMode yes
                StrictHostKeyChecking yes
                UserKnownHostsFile "{self.path('known_hosts')}"
                IdentityFile "{self.path('key')}"
                IdentitiesOnly yes\n''',
            'sshd_config': f'''ListenAddress {self.b.address}
                HostKey "{self.path('host_key')}"
                PidFile "{self.path('sshd.pid')}"
                AuthorizedKeysFile "{self.path('key.pub')}"
                AuthenticationMethods publickey
                PermitRootLogin yes
                StrictModes no\n''',
            'passwd': 'root:*:0:0:root:/root:/bin/sh\nsshd:*:65533:65534::/run/sshd:/usr/sbin/nologin\n'
                      + read_text('/etc/passwd'),
            'shadow': 'root:*:::::::\n',
        }
        for name, text in files.items():
            with open(self.path(name), 'w') as file:
                file.write(text)

    def shape(self, rate_mbit=None, delay_ms=None):
        """Bound the rate of the cable, delay it each way, or neither; a skip where the kernel cannot."""
        rate = ['rate', f'{rate_mbit}mbit'] if rate_mbit else []
        if delay_ms:
            qdisc = ['netem', 'limit', '100000', 'delay', f'{delay_ms}ms', *rate]
        elif rate:
            qdisc = ['tbf', *rate, 'burst', str(max(64 << 10, int(rate_mbit * 1250))), 'latency', '50ms']
        else:
            qdisc = ['pfifo']
        for host in self.a, self.b:
            host.network('tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', *qdisc)

    def cut(self):
        """Pull the cable: connections hang, and none can be made."""
        self.b.network('ip', 'link', 'set', 'eth0', 'down')

    def mend(self):
        self.b.network('ip', 'link', 'set', 'eth0', 'up')
