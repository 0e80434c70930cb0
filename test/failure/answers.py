# SPDX-License-Identifier: GPL-2.0-only
"""What check, status, scan and untrack answer: fields, sums, and that asking changes nothing."""

import contextlib
import json
import os
import signal
import socket
import time

from kit import CRIU, Skip, case, check, read_text, variants, wait

CATEGORIES = {'wpallowed', 'written', 'file', 'present', 'swapped', 'pfnzero', 'huge', 'soft_dirty', 'guard'}


def ask(t, *args, code=0):
    """The JSON answer; stderr stays empty on success."""
    run = t.pagescan(*args, '--json').expect(code)
    check(not run.err, f'stderr: {run.err}')
    return json.loads(run.out)


@case
def check_tells(t):
    answer = ask(t, 'check')
    check(set(answer) == {'kernel', 'usable', 'checks'}, f'fields {set(answer)}')
    check(answer['usable'] is True and answer['kernel'] == os.uname().release, f'{answer}')
    check(set(answer['checks']) == {'pagemap_scan', 'wp_async', 'guard', 'holes_written', 'soft_dirty',
                                    'breakpoints', 'criu', 'keeper', 'warm', 'runtime', 'runtime_bare', 'runc', 'crun',
                                    'podman'}, f'checks {set(answer["checks"])}')
    for name, item in answer['checks'].items():
        check(set(item) == {'available', 'needed', 'reason'} and item['reason'], f'{name}: {item}')
        check(item['available'] or not item['needed'], f'{name}: {item}')
    check(CRIU in answer['checks']['criu']['reason'], f'{answer["checks"]["criu"]}')
    check(answer['checks']['warm']['available'], f'{answer["checks"]["warm"]}')
    text = t.pagescan('check').expect(0).out
    check(text.startswith('pagemap_scan  yes') and f'pagescan works on kernel {os.uname().release}' in text, text)


def has_passcred():
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)
        return True
    return False


@variants(before='4.1.1', since='4.2')
def check_tells_whether_criu_dumps_tcp(t, version):
    """What criu asks of each socket before 4.2 is what the kernel here may not answer."""
    with open(t.path('criu'), 'w') as file:
        file.write(f'#!/bin/sh\necho "Version: {version}"\n')
    os.chmod(t.path('criu'), 0o755)
    run = t.pagescan('check', env={'PAGESCAN_CRIU': t.path('criu')}).expect(0)
    check(('need 4.2' in run.out) == (version == '4.1.1' and not has_passcred()), run.out)


@case
def check_tells_of_a_wrong_directory(t):
    os.mkdir('/run/pagescan')
    os.chmod('/run/pagescan', 0o777)
    answer = ask(t, 'check', code=1)
    check(answer['usable'] is False and not answer['checks']['keeper']['available'], f'{answer}')
    check('/run/pagescan must belong to uid 0 with mode 0700' in answer['checks']['keeper']['reason'], f'{answer}')
    for args in (['status'], ['untrack', '--all'], ['untrack', '1']):
        run = t.pagescan(*args).expect(1)
        check('mode 0700' in run.err, f'{args}: {run.err}')


@case
def status_without_keeper(t):
    """Nothing is tracked: an empty list, and no keeper for it."""
    check(ask(t, 'status') == [], 'there is something')
    check(t.pagescan('status').expect(0).out.count('\n') == 1, 'more than the head line')
    check(t.pagescan('untrack', '--all').expect(0).out == '0 tasks untracked\n', 'untrack says something else')
    check(not t.keepers(), 'there is a keeper')


@case
def status_after_a_killed_keeper(t):
    t.start_victim()
    t.pre_dump('1')
    for pid in t.keepers():
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not t.keepers(), 'end of the keeper')
    check(ask(t, 'status') == [], 'there is something')
    check(t.pagescan('untrack', str(t.victim.pid)).expect(1).err, 'no message')
    t.victim.verdict()


@case
def status_of_tracked(t):
    before = int(time.time())
    t.start_victim('child')
    other = t.start_victim(name='other')
    t.pre_dump('1')
    t.pre_dump('2', '1')
    t.pre_dump('other-1', victim=other)
    answer = ask(t, 'status')
    check([task['pid'] for task in answer] == sorted([*t.victim.pids, other.pid]), f'{answer}')
    for task in answer:
        check(set(task) == {'pid', 'command', 'container', 'since', 'epoch', 'areas', 'protected_bytes'}, f'{set(task)}')
        check(task['command'] == 'victim' and not task['container'], f'{task}')
        check(before <= task['since'] <= time.time(), f'{task}')
        check(task['epoch'] == (1 if task['pid'] == other.pid else 2), f'{task}')
        check(task['areas'] > 5 and 1 << 20 < task['protected_bytes'] < 16 << 20, f'{task}')
    lines = t.pagescan('status').expect(0).out.splitlines()
    check(len(lines) == 4 and lines[0].split()[:2] == ['PID', 'COMMAND'], f'{lines}')
    check(lines[1].split()[:2] == [str(answer[0]['pid']), 'victim'], f'{lines}')
    check(t.pagescan('untrack', str(other.pid)).expect(0).out == '1 task untracked\n', 'untrack says something else')
    check([task['pid'] for task in ask(t, 'status')] == t.victim.pids, 'it is still there')
    other.verdict()
    t.victim.verdict()
    wait(lambda: ask(t, 'status') == [], 'forgetting of what has ended')


def stopped_victim(t):
    """Nothing of it changes while it is looked at."""
    t.start_victim()
    t.pre_dump('1')
    t.victim.touch()
    os.kill(t.victim.pid, signal.SIGSTOP)
    wait(lambda: t.victim.proc('State')[0] == 'T', 'stop of the victim')
    return str(t.victim.pid)


def restart(t):
    os.kill(t.victim.pid, signal.SIGCONT)
    t.victim.unharmed()
    t.dump('2', '1').incremental()
    t.restore('2')


def sums_agree(answer, fields):
    """The whole is the sum of its areas, and an area that of its regions, which ascend within it."""
    for area in answer['areas']:
        check(set(area) == {'start', 'end', 'bytes', *fields}, f'fields {set(area)}')
        check(set(area['bytes']) == {'matched', *CATEGORIES}, f'{area["bytes"]}')
        at, sums = area['start'], dict.fromkeys(area['bytes'], 0)
        for region in area.get('regions', []):
            check(at <= region['start'] < region['end'] <= area['end'], f'{region} in {area["start"]}-{area["end"]}')
            check(set(region['categories']) <= CATEGORIES, f'{region}')
            at = region['end']
            for name in ('matched', *region['categories']):
                sums[name] += region['end'] - region['start']
        check('regions' not in area or sums == area['bytes'], f'{area["bytes"]} is not the sum of the regions, {sums}')
    for name in answer['bytes']:
        check(answer['bytes'][name] == sum(area['bytes'][name] for area in answer['areas']), f'sum of {name}')


@case
def scan_sums(t):
    pid = stopped_victim(t)
    answer = ask(t, 'scan', '--regions', pid)
    check(set(answer) == {'pid', 'areas', 'bytes'} and answer['pid'] == int(pid), f'fields {set(answer)}')
    sums_agree(answer, {'regions'})
    plain = ask(t, 'scan', pid)
    sums_agree(plain, set())
    check(plain['bytes'] == answer['bytes'], f'{plain["bytes"]}, with regions {answer["bytes"]}')

    rollup = dict(line.split(':') for line in read_text(f'/proc/{pid}/smaps_rollup').splitlines()[1:])
    rss, swap, huge = (int(rollup[name].split()[0]) * 1024 for name in ('Rss', 'Swap', 'AnonHugePages'))
    got = answer['bytes']
    check(got['matched'] == got['present'] + got['swapped'], f'{got}')
    # The kernel does not count the zero page and its own special pages.
    check(abs(got['present'] - got['pfnzero'] - rss) <= 256 << 10, f'{got["present"]} present, rss is {rss}')
    # Where a protected page of the file was dropped there is a marker, which the kernel calls swapped.
    check(0 <= got['swapped'] - swap <= 64 << 10 and got['huge'] == huge, f'{got}, swap {swap}, huge pages {huge}')

    text = t.pagescan('scan', pid).expect(0).out.splitlines()
    check(text[-1].split()[:2] == ['sum', str(got['matched'])] and len(text) == len(plain['areas']) + 1, text[-1])
    restart(t)


@case
def scan_huge_pages(t):
    t.start_victim()
    os.kill(t.victim.pid, signal.SIGSTOP)
    huge = [line.split()[1] for line in read_text(f'/proc/{t.victim.pid}/smaps_rollup').splitlines()
            if line.startswith('AnonHugePages')]
    if huge == ['0']:
        raise Skip('the kernel gave no huge page')
    got = ask(t, 'scan', '--required', 'huge', str(t.victim.pid))['bytes']
    check(got['matched'] == got['huge'] == got['present'] == int(huge[0]) * 1024, f'{got}, not {huge[0]} KiB')
    os.kill(t.victim.pid, signal.SIGCONT)
    t.victim.verdict()


@case
def scan_masks(t):
    """Every way to part a set leaves nothing out and counts nothing twice."""
    pid = stopped_victim(t)

    def matched(*masks):
        return ask(t, 'scan', *masks, pid)['bytes']['matched']
    present = matched('--required', 'present')
    check(present, 'nothing is present')
    for name in sorted(CATEGORIES - {'present', 'guard'}):
        parts = matched('--required', f'present,{name}'), matched('--required', 'present', '--excluded', name)
        check(sum(parts) == present, f'{name}: {parts} of {present}')
    clean = matched('--required', 'wpallowed', '--anyof', 'present,swapped', '--excluded', 'written')
    check(1 << 20 < clean < present, f'{clean} of {present} bytes are clean')
    check(clean == ask(t, 'status')[0]['protected_bytes'], 'status counts otherwise')
    check(matched('--anyof', 'present,swapped') == matched(), 'the default mask is another one')
    check(matched('--required', 'present', '--excluded', 'present') == 0, 'a contradiction matches')
    restart(t)


@variants(itself='1', running='victim')
def scan_while_it_runs(t, who):
    """The sums are of one moment for each area at best, yet they agree with themselves."""
    t.start_victim()
    for _ in range(20):
        sums_agree(ask(t, 'scan', '--regions', who if who == '1' else str(t.victim.pid)), {'regions'})
    t.victim.verdict()


@case
def asking_changes_nothing(t):
    t.start_victim()
    t.pre_dump('1')
    t.victim.touch()
    for args in (['check'], ['status'], ['scan', str(t.victim.pid)], ['scan', '--required', 'written', '1']):
        ask(t, *args)
    t.pagescan('untrack', '1').expect(1)
    t.pagescan('keeper').expect(0)  # a second one leaves at once
    t.dump('2', '1').incremental()
    t.restore('2')
