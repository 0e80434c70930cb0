#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Another place on this machine to migrate a test to: namespaces of processes and mounts, where its pids are free.

Run as a program this is what `pagescan migrate` takes for ssh: elsewhere.py PID DIR HOST COMMAND... runs the command
where the process PID is. It holds what the destination says of each round until somebody has read a byte of DIR/taken
and written one to DIR/goon, so that a test knows what happens before which round.
"""

import os
import struct
import subprocess
import sys

FRAME, TAKEN = struct.Struct('<IIQ'), 12  # plugins/pagescan/move/wire.h

# Process 1: it tells how each orphan ended.
INIT = '''
import os, signal, sys
with open('/proc/sys/kernel/ns_last_pid', 'w') as last:
    last.write(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
print('ready', flush=True)
while True:
    signal.sigwait([signal.SIGCHLD])
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            print(*ended, flush=True)
    except ChildProcessError:
        pass
'''


class Elsewhere:
    """Nothing of it is left when the process `unshare` has ended."""

    def __init__(self, pid, output):
        """`pid` and those above it shall be free: what runs here for its own has others. `output`: a new file."""
        self.output = output
        with open('/proc/sys/kernel/pid_max') as file:
            top = int(file.read())
        command = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', sys.executable, '-c', INIT,
                   str((pid + top // 2) % top)]
        with open(output, 'wb') as out:
            self.unshare = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True)

    def lines(self):
        with open(self.output) as file:
            return [line.split() for line in file.read().split('\n')[:-1]]

    def ready(self):
        """True if it is, else None: for wait()."""
        return ['ready'] in self.lines() or None

    def ended(self, pid):
        """The wait status of an orphan here that has ended, else None."""
        return next((int(line[1]) for line in self.lines() if line[0] == str(pid)), None)

    def init(self):
        """Process 1, as we see it."""
        with open(f'/proc/{self.unshare.pid}/task/{self.unshare.pid}/children') as file:
            return int(file.read())

    def command(self, *command):
        """What runs a command here."""
        return enter(self.init(), *command)

    def seen(self):
        """The pids here, and by which ones we see them."""
        found, here = {}, os.readlink(f'/proc/{self.init()}/ns/pid')
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                if os.readlink(f'/proc/{pid}/ns/pid') == here:
                    with open(f'/proc/{pid}/status') as status:
                        line = next(line for line in status if line.startswith('NSpid:'))
                    found[int(line.split()[-1])] = int(pid)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass  # it has ended; or it is the machine's own process 1, which may be nobody's to look at
        return found


def enter(pid, *command):
    return ['nsenter', f'--target={pid}', '--pid', '--mount', '--', *command]


def rsh(pid, directory, _host, *command):
    command = enter(pid, 'sh', '-c', ' '.join(command))
    if '--settle' in command[-1]:
        os.execvp(command[0], command)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    while head := process.stdout.read(FRAME.size):
        kind, _, size = FRAME.unpack(head)
        if kind == TAKEN:
            with open(os.path.join(directory, 'taken'), 'wb') as taken:
                taken.write(b'.')
            with open(os.path.join(directory, 'goon'), 'rb') as go_on:
                go_on.read(1)
        os.write(sys.stdout.fileno(), head + process.stdout.read(size))
    return process.wait()


if __name__ == '__main__':
    sys.exit(rsh(*sys.argv[1:]))
