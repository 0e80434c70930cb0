# SPDX-License-Identifier: GPL-2.0-only
"""Processes that move from one host to the other."""

import json
import os
import shutil
import signal
import subprocess

from kit import PAGESCAN, Run, case, check, read_text, variants, wait
from moving import Moving


def left(path):
    return os.listdir(path) if os.path.exists(path) else []


@variants(one=(), tree=('child',))
def moves(t, roles):
    with Moving(t, *roles) as m:
        huge = m.traveller.huge_kib('a')
        run = m.migrate()
        check(not run.err, f'it says {run.err}')
        check('downtime:' in run.out, f'no word of the downtime: {run.out}')
        m.warm()
        # What came in huge pages and was not on such is split when it runs.
        wait(lambda: m.traveller.huge_kib('b') <= huge, 'small pages')
        there = m.traveller.huge_kib('b')
        # A child's areas where its parent has some are copied by criu, and what it writes there splits huge pages.
        check(roles or there >= huge > 0, f'huge pages: {huge} KiB before, {there} after')
        check(not left(t.path('work')), f'left in the work directory: {left(t.path("work"))}')
        m.moved()


@case
def moves_a_pid_namespace(t):
    """The root is process 1 there as well, among mounts of its own."""
    with Moving(t, 'child', init=True) as m:
        m.b.run(['mount', '--bind', m.traveller.dir, m.traveller.dir])
        run = m.migrate(criu=['--root', m.traveller.dir])
        check(not run.err, f'it says {run.err}')
        m.warm()
        m.moved()


@variants(cold=['--no-warm'], lz4=['--compress', 'lz4'], two_jobs=['--jobs', '2'], tcp=['--tcp=10.77.0.2', '--jobs', '2'],
          tcp_and_lz4=['--tcp=10.77.0.2:7000', '--compress', 'lz4'], slowly=['--max-bandwidth', '20M'])
def moves_with(t, options):
    with Moving(t, 'child') as m:
        run = m.migrate(*options)
        check(not run.err, f'it says {run.err}')
        if '--no-warm' not in options:
            m.warm()
        else:
            check(not os.path.exists(m.images('last/restore.log')), 'a restore waited warm')
        m.moved()


@case
def moves_without_a_work_directory(t):
    """One is made, and removed."""
    with Moving(t) as m:
        before = sorted(os.listdir(t.dir))
        m.migrate(work=None)
        after = sorted(set(os.listdir(t.dir)) - set(before))
        check(after == ['images'], f'left in the directory of temporary files: {after}')
        m.moved()


@case
def moves_and_tells_programs(t):
    with Moving(t) as m:
        events = [json.loads(line) for line in m.migrate('--json').out.splitlines()]
        check(all(event['event'] == 'round' for event in events[:-1]), f'strange events: {events}')
        end = events[-1]
        parts = end['dump_milliseconds'], end['restore_milliseconds'], end['resume_milliseconds']
        check(end['event'] == 'end' and end['verdict'] == 'converged', f'a strange end: {end}')
        check(all(part >= 0 for part in parts), f'parts that are none: {end}')
        check(abs(end['downtime_milliseconds'] - sum(parts)) < 1, f'the parts are not the whole: {end}')
        check(end['sent_bytes'] > 0, f'nothing was sent: {end}')
        m.moved()


@case
def moves_though_the_pause_does_not_fit(t):
    with Moving(t) as m:
        check('does not fit' in m.migrate('--downtime-limit', '1', '--max-rounds', '2', code=3).out, 'no word of why')
        m.moved()


@case
def moves_two_at_once(t):
    with Moving(t) as m:
        other = m.travel('other', 'child')
        runs = [m.start(), m.start(traveller=other, images=t.path('images-2'), work='work-2')]
        for run in runs:
            check(not run.finish().expect(0).err, f'it says {run.err}')
        m.moved()
        m.moved(other)


def sent(run):
    """Bytes, of a migration with --json."""
    return json.loads(run.out.splitlines()[-1])['sent_bytes']


@variants(twice=(2, []), twice_by_tcp=(2, ['--tcp=10.77.0.2', '--jobs', '2']), ten_times=(10, []))
def moves_there_and_back_again(t, how):
    """Each landing is warm, and what was written at the other end is there. What was there before is not sent again."""
    times, by = how
    with Moving(t, 'child') as m:
        bytes_sent, options = [], {'there': ['--json'], 'back': ['--json']}
        for number in range(times):
            there, back = f'there-{number}', f'back-{number}'
            run = m.migrate(*by, *options['there'], images=t.path(there), work=f'work-{there}')
            m.warm(there)
            m.traveller.only_in('b').verify('b')
            bytes_sent.append(sent(run))
            bytes_sent.append(sent(m.home(back, *options['back'])))
            m.warm(back)
            m.traveller.only_in('a').verify('a')
            for way, name in ('there', there), ('back', back):
                if '--base' in options[way]:
                    shutil.rmtree(options[way][-1])
                options[way] = ['--json', '--base', t.path(name)]
        m.traveller.verdict('a')
        first, later = bytes_sent[:2], bytes_sent[2:]
        # Each way a part of all pages is written anew.
        check(max(later) * 3 < min(first) * 2, f'bytes sent: at first {first}, later {later}')
        return f'{min(first):,} bytes at first, {max(later):,} at most later'


@variants(move=('migrate', 0), child=('migrate', 1), dump=('dump', 0))
def moves_though_somebody_else_tries(t, attempt):
    """Who comes second is told, and disturbs nobody."""
    command, number = attempt
    with Moving(t, 'child') as m:
        run = m.start(point='down.TAKEN.1')
        m.reached(run)
        pid = m.a.pid_of(m.traveller.places()['a'][number])
        check((pid == m.traveller.pid) == (not number), 'the processes are not in the order of their pids')
        to = {'migrate': [f'b:{t.path("other")}', '--rsh', ' '.join(m.rsh)], 'dump': ['-D', t.path('other')]}[command]
        other = Run(m.a.popen([PAGESCAN, command, '-t', str(pid), *to], env=t.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)).finish().expect(1)
        check(other.err == f'pagescan: process {pid} is being dumped or moved by another pagescan already\n',
              f'it says {other.err}')
        check(not os.path.exists(t.path('other')), 'a directory was made')
        m.order('go')
        check(not run.finish().expect(0).err, f'the first one says {run.err}')
        m.warm()
        m.moved()


@variants(interrupt=signal.SIGINT, term=signal.SIGTERM)
def interrupted_in_a_round(t, signo):
    with Moving(t) as m:
        run = m.start(point='up.DATA.2')
        m.reached(run)
        run.process.send_signal(signo)
        m.order('go')
        run.finish().expect(4)
        check('interrupted' in run.out, f'it says {run.out}')
        check(not left(t.path('work')), f'left in the work directory: {left(t.path("work"))}')
        m.untracked()
        m.again()


@case
def interrupted_between_rounds(t):
    with Moving(t) as m:
        run = m.start(point='down.TAKEN.1')
        m.reached(run)
        run.process.send_signal(signal.SIGINT)
        m.order('go')
        run.finish().expect(4)
        m.untracked()
        m.stayed()


@variants(last='up.LAST.1', ready='down.READY.1')
def interrupted_while_it_stands_still(t, point):
    with Moving(t) as m:
        run = m.start(point=point)
        m.reached(run)
        run.process.send_signal(signal.SIGINT)
        m.order('go')
        run.finish().expect(4).said('the processes go on here')
        m.untracked()
        m.stayed()


@case
def interrupted_too_late(t):
    """They run there already."""
    with Moving(t) as m:
        run = m.start(point='down.RUNNING.1')
        m.reached(run)
        run.process.send_signal(signal.SIGINT)
        m.order('go')
        run.finish().expect(0)
        m.moved()


@case
def cancelled_without_time(t):
    with Moving(t) as m:
        run = m.migrate('--timeout', '1', '--max-bandwidth', '256K', code=4)
        check('the time is over' in run.out, 'no word of why')
        m.untracked()
        m.stayed()


@case
def moves_without_time_all_the_same(t):
    with Moving(t) as m:
        m.migrate('--timeout', '1', '--on-timeout', 'force', '--max-bandwidth', '2M', '--downtime-limit', '1', code=3)
        m.moved()


@variants(limit=['--downtime-limit', 'soon'], compress=['--compress', 'zip'], word=['word'], option=['--no-such'],
          jobs=['--jobs', '0'])
def wrong_usage(t, options):
    with Moving(t) as m:
        check(m.migrate(*options, code=2).err, 'nothing was said')
        check(not os.path.exists(m.images()), 'the directory was made')
        m.untracked()
        m.stayed()


@case
def moves_one_that_is_stopped(t):
    """It stays stopped, and goes on there."""
    with Moving(t) as m:
        os.kill(m.traveller.root('a'), signal.SIGSTOP)
        wait(lambda: 'State:\tT' in read_text(f'/proc/{m.traveller.root("a")}/status'), 'stop')
        m.migrate()
        wait(lambda: not m.traveller.places()['a'] or m.traveller.process.poll() is not None, 'its end in a')
        check('State:\tT' in read_text(f'/proc/{m.traveller.root("b")}/status'), 'it runs')
        os.kill(m.traveller.root('b'), signal.SIGCONT)
        m.moved()
