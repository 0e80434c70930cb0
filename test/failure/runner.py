# SPDX-License-Identifier: GPL-2.0-only
"""What a suite's `run` calls: its cases, each in mount and process namespaces of its own with an empty /run, so that it
meets no keeper and no feature cache but its own, and nothing that it has started survives it. A line a case, then
`N passed, N failed, N skipped`. What a case prints last is said of it, also if it passes.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import shutil
import signal
import subprocess
import sys
import threading

import kit
from kit import FAILED, PASSED, SKIPPED

CASE_TIMEOUT = 1200

interrupted = threading.Event()
running = set()


def inside(name, directory):
    """Process 1 of the case's namespaces."""
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'none', '/run'], check=True)
    return kit.outcome(name, kit.Test(directory))


def take(name, runs, title, timeout, keep):
    """Run one case; its verdict and its line."""
    if interrupted.is_set():
        return 'SKIP', f'SKIP {title}: interrupted'
    directory = os.path.join(runs, name)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    with open(os.path.join(directory, 'case.err'), 'w') as err:
        process = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child',
                                    '--mount-proc', sys.executable, os.path.abspath(sys.argv[0]), '--inside', name],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True)
    running.add(process)
    try:
        reason = (process.communicate(timeout=timeout)[0].splitlines() or [''])[-1]
        code = process.returncode
    except subprocess.TimeoutExpired:
        code, reason = FAILED, f'not done within {timeout} s'
    finally:
        process.kill()  # and with it process 1 of the case, and so every process of the case
        process.wait()
        running.remove(process)
    if code in (PASSED, SKIPPED) and not keep:
        shutil.rmtree(directory)
    if code == PASSED:
        return 'PASS', f'PASS {title}' + (f' ({reason})' if reason else '')
    if code == SKIPPED:
        return 'SKIP', f'SKIP {title}: {reason}'
    return 'FAIL', f'FAIL {title}: {reason or f"exit status {code}"}\n  see {directory}'


def stop(*_):
    interrupted.set()
    for process in list(running):
        process.kill()


def parse_args(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option('-k', metavar='NAME', action='append', help='only these cases (a shell pattern; may be repeated)')
    option('-l', action='store_true', help='list the cases')
    option('-j', metavar='N', type=int, default=2, help='run N cases at a time (2); each has a world of its own')
    option('--keep', action='store_true', help='keep the directories of cases that pass, too')
    option('--inside', metavar='NAME', help=argparse.SUPPRESS)
    return parser.parse_args()


def build_programs():
    if subprocess.run(['make', '-s', '-C', kit.HERE, f'O={kit.PROGRAMS}']).returncode:
        sys.exit('the programs of the tests cannot be built')


def main(suite, description, build=None, timeout=CASE_TIMEOUT, conclude=None):
    """Run the cases that are registered by now, each for `timeout` seconds at most, after `build` and before `conclude`;
    the exit status."""
    args = parse_args(description)
    runs = os.path.join(kit.BUILD, 'test', suite, 'runs')
    if args.inside:
        return inside(args.inside, os.path.join(runs, args.inside))
    names = [name for name in kit.CASES if any(fnmatch.fnmatch(name, pattern) for pattern in args.k or '*')]
    if not names:
        sys.exit('no such case')
    if args.l:
        print(*names, sep='\n')
        return 0
    if os.geteuid():
        sys.exit('root is needed')
    if build:
        build()
    for signo in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signo, stop)
    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        futures = [pool.submit(take, name, runs, f'{suite}/{name}', timeout, args.keep) for name in names]
        for case in concurrent.futures.as_completed(futures):
            verdict, line = case.result()
            verdicts.append(verdict)
            print(line, flush=True)
    if conclude:
        conclude()
    passed, failed, skipped = (verdicts.count(verdict) for verdict in ('PASS', 'FAIL', 'SKIP'))
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or interrupted.is_set() else 0
