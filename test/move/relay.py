#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""relay.py CONTROL POINT COMMAND...: run COMMAND as --rsh does, and hold the migration at a point of what is said.

POINT is `up` (from the source) or `down`, the name of a frame, and which one of them, joined by full stops. When that
frame has come it is kept back, and the file CONTROL/reached is made; what CONTROL/order, a fifo, then says is done: `go`
lets everything pass from there on, `cut` ends COMMAND and this. Who asks with --settle is not held.
"""

import os
import signal
import struct
import subprocess
import sys
import threading

# enum wire_type of move/wire.h
FRAMES = ('HELLO ROUND FILE DATA LZ4 FILE_END FILE_DROP PARENT ROUND_END LAST GO '
          'TAKEN READY RUNNING FAILED NOTE LISTEN LISTENS JOINED KNOWN SAME').split()


class Held:
    """One direction, frame by frame."""

    def __init__(self, control, name, point):
        self.control, self.name = control, name
        where, frame, number = point.split('.')
        self.wanted = FRAMES.index(frame) + 1 if where == name else None
        self.left = int(number)

    def hold(self):
        with open(os.path.join(self.control, 'reached'), 'w'):
            pass
        with open(os.path.join(self.control, 'order')) as order:
            if order.read().strip() == 'cut':
                child.kill()
                os._exit(1)

    def pump(self, source, to):
        try:
            while head := source.read(16):
                kind, _, size = struct.unpack('<IIQ', head)
                if kind == self.wanted:
                    self.left -= 1
                    if not self.left:
                        self.hold()
                to.write(head + source.read(size))
                to.flush()
        except (BrokenPipeError, ValueError):
            pass
        try:
            to.close()
        except BrokenPipeError:
            pass


if __name__ == '__main__':
    control, point, *command = sys.argv[1:]
    if any('--settle' in word for word in command):  # it is quoted
        os.execvp(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    up, down = Held(control, 'up', point), Held(control, 'down', point)
    threading.Thread(target=up.pump, args=(sys.stdin.buffer, child.stdin), daemon=True).start()
    down.pump(child.stdout, sys.stdout.buffer)
    os._exit(child.wait())
