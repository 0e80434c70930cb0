# SPDX-License-Identifier: GPL-2.0-only
"""What the parts of the runner share: its failures, how it waits, and how it finds processes."""

import contextlib
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'zdtm'))
from reading import read_text  # noqa: E402


class Failure(Exception):
    pass


def wait(condition, timeout, what):
    deadline = time.monotonic() + timeout
    while (result := condition()) is None:
        if time.monotonic() > deadline:
            raise Failure(f'{what}: not done within {timeout} s')
        time.sleep(0.002)
    return result


def find_all(file, text):
    """The processes whose file in /proc matches this."""
    return [int(pid) for pid in filter(str.isdigit, os.listdir('/proc'))
            if re.search(text, read_text(f'/proc/{pid}/{file}'))]


def kill_all(signo, file, text):
    """How many they are."""
    pids = find_all(file, text)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signo)
    return len(pids)
