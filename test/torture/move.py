# SPDX-License-Identifier: GPL-2.0-only
"""The end of a campaign with --move: its processes go through `pagescan migrate` to another place on this machine.

What was held ready for them there is compared with the images as it is given (PAGESCAN_VERIFY=1), and in every second
campaign, while everybody stands still, all their memory with what a plain restore of the same images makes in a third
place. The base of some moves are the rounds that the campaign has taken before. Some moves are struck: pagescan is killed
at either end, or the keeper. Then the processes are whole at one end and not at the other; if that is here they are moved
again.
"""

import os
import re
import signal
import subprocess
import sys
import time

from parts import Failure, find_all, wait

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'zdtm'))
import elsewhere  # noqa: E402
import memory  # noqa: E402
from reading import read_text  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGESCAN = os.path.join(ROOT, 'build/pagescan')
ATTEMPTS = 5  # of which all but the last may be struck
RSH = '#!/bin/sh\nshift\nexec nsenter --target={init} --pid --mount -- sh -c "$*"\n'
# Command lines, with zeros between the words.
RECEIVER, KEEPER = 'pagescan\0receive\0', 'pagescan\0keeper\0'
MOVERS = re.compile('pagescan\0(receive|migrate)\0|pagescan-hook\0|criu\0(dump|restore)\0')


def in_place(init, pids):
    """Those that live in the process namespace of that one."""
    def lives(pid):
        try:
            return os.readlink(f'/proc/{pid}/ns/pid') == here and ') Z ' not in read_text(f'/proc/{pid}/stat')
        except OSError:
            return False
    here = os.readlink(f'/proc/{init}/ns/pid')
    return [pid for pid in pids if lives(pid)]


class Move:
    def __init__(self, campaign, timeout):
        self.campaign, self.timeout = campaign, timeout
        self.compare = campaign.seed % 2 == 0
        self.place = self.images = None
        self.held = 0

    def run(self):
        """Returns when the processes run in the other place."""
        for number in range(ATTEMPTS):
            self.campaign.disturb()
            if self.attempt(number):
                break
            self.campaign.verify()
        else:
            raise Failure('not moved, though nothing was done against it the last time')
        found = re.findall(r'pagescan: \d+: (\d+) KiB in \d+ areas were held ready', self.restore_logs())
        self.held = sum(map(int, found))
        if self.compare:
            self.hold_against_a_plain_one()

    def ended(self):
        """The tree's wait status, None while it lives."""
        return self.place.ended(self.campaign.tree)

    def root(self):
        """The tree's root, as we see it."""
        return self.place.seen()[self.campaign.tree]

    def make_place(self, name):
        place = elsewhere.Elsewhere(self.campaign.tree, self.campaign.path(name))
        wait(place.ready, self.timeout, 'namespaces')
        return place

    def start(self, number):
        campaign, draw = self.campaign, self.campaign.random
        self.place, self.images = self.make_place(f'there-{number}'), campaign.path(f'images-{number}')
        rsh = campaign.path(f'rsh-{number}')
        with open(rsh, 'w') as file:
            file.write(RSH.format(init=self.place.init()))
        os.chmod(rsh, 0o700)
        options = ['--max-rounds', str(draw.randint(1, 5)), '--jobs', draw.choice(['1', '2', '3']),
                   *draw.choice([[], [], ['--compress', 'lz4']]), *draw.choice([[], ['--base', campaign.dir]])]
        campaign.history.append(f'move {number}: {" ".join(options)}, pace {campaign.model.pace}')
        command = [PAGESCAN, 'migrate', '-t', str(campaign.tree), f'there:{self.images}', '--rsh', rsh,
                   '--remote-pagescan', PAGESCAN, '--work-dir', campaign.path(f'work-{number}'),
                   '--downtime-limit', '1', *options, '--', '-v4', *(['--leave-stopped'] if self.compare else [])]
        with open(campaign.path(f'move-{number}.out'), 'wb') as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                    env=dict(campaign.environment, PAGESCAN_VERIFY='1'))

    def strike(self, process):
        """Kill somebody in a moment of chance."""
        draw = self.campaign.random
        victim, delay = draw.choice(['source', 'receiver', 'keeper']), draw.random() * draw.choice([0.3, 1, 3, 10])
        time.sleep(delay)
        pids = [process.pid] if victim == 'source' else \
            find_all('cmdline', {'receiver': RECEIVER, 'keeper': KEEPER}[victim])[:1]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.campaign.history.append(f'{len(pids)} {victim} killed after {delay:.3f} s')

    def attempt(self, number):
        """Whether the processes have moved, when nobody is left who could change that."""
        struck = number < ATTEMPTS - 1 and self.campaign.trouble(40)
        process = self.start(number)
        if struck:
            self.strike(process)
        try:
            code = process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f'pagescan migrate takes longer than {self.timeout} s') from None
        wait(lambda: None if find_all('cmdline', MOVERS) else True, self.timeout,
             'end of everybody who moves the processes')
        if 'pagescan: BUG' in self.restore_logs():
            raise Failure(f'pagescan: BUG in {self.images}')
        moved = self.is_there()
        if not struck and (not moved or code not in (0, 3)):
            raise Failure(f'pagescan migrate exited with {code}, and the processes are {"t" * moved}here:\n    '
                          + '\n    '.join(read_text(self.campaign.path(f'move-{number}.out')).splitlines()[-5:]))
        self.campaign.history.append(f'move {number}: {code}, the processes are {"t" * moved}here')
        return moved

    def restore_logs(self):
        return ''.join(read_text(os.path.join(self.images, 'last', name))
                       for name in ('restore.log', 'restore-plain.log'))

    def is_there(self):
        """They run in one of the two places."""
        def only_one():
            everyone = find_all('comm', 'torture\n')
            here, there = in_place('self', everyone), in_place(self.place.init(), everyone)
            return (bool(there),) if bool(here) != bool(there) else None
        return wait(only_one, self.timeout, 'that the processes are in one place')[0]

    def tasks(self):
        return [int(name[8:-4]) for name in os.listdir(os.path.join(self.images, 'last'))
                if re.fullmatch(r'pagemap-\d+\.img', name)]

    def hold_against_a_plain_one(self):
        plain, images, tasks = self.make_place('plain'), os.path.join(self.images, 'last'), self.tasks()
        code = self.campaign.criu(*plain.command(os.environ['PAGESCAN_CRIU'], 'restore', '-d', '--leave-stopped', '-D',
                                                 images), log=self.campaign.path('plain.log'))
        if code:
            raise Failure(f'a plain restore of the same images exited with {code}, see plain.log')
        warm, cold = self.place.seen(), plain.seen()
        for pid in tasks:
            _, difference = memory.compare(warm[pid], cold[pid])
            if difference:
                raise Failure(f'{pid}: warm and plain restore differ: {difference}')
        plain.unshare.kill()
        wait(plain.unshare.poll, self.timeout, 'end of what was compared')
        for pid in tasks:
            os.kill(warm[pid], signal.SIGCONT)
