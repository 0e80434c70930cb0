# SPDX-License-Identifier: GPL-2.0-only
"""The page about a chain of rounds (pagescan report): what it says, how a browser shows it, chains that are none."""

import glob
import html.parser
import os
import re
import shutil
import struct
import tempfile
import zlib

import chains
from kit import Skip, case, check, read_text, variants
from live import Server, dump, merge, served

BROWSER_S = 600  # it may start slowly where others are at work


class Page(html.parser.HTMLParser):
    """A page taken apart: the rows of each table as lists of cells, {text, data, rects}, and all that is text."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.cell, self.text, self.tags = [], None, '', set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            check(name not in ('src', 'href') and 'url(' not in (value or ''),
                  f'not self-contained: <{tag} {name}={value}>')
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.cell = {'text': '', 'data': [], 'rects': 0}
            self.tables[-1][-1].append(self.cell)
        elif tag == 'data':
            self.cell and self.cell['data'].append(int(dict(attrs)['value']))
        elif tag == 'rect':
            self.cell['rects'] += 1

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.cell['text'] += data

    def column(self, number):
        return [row[number]['text'] for row in self.tables[0][1:]]


def report(t, directory, *args, code=0):
    run = t.pagescan('report', *args, t.path(directory)).expect(code)
    check(bool(run.err) == bool(code) and len(run.err.splitlines()) < 2, f'said: {run.err}')
    return run


def held(directory):
    """Bytes of pages in a round's images: where there is one, a byte in the file is a byte of a page."""
    return sum(os.path.getsize(path) for path in glob.glob(os.path.join(directory, 'pages-*.img')))


def agrees(t, text, *rounds):
    """The page says of each round what its files say, and its map holds as many bytes."""
    page = Page(text)
    table, areas = page.tables
    check([row[0]['text'] for row in table[1:]] == [os.path.basename(name) for name in rounds],
          f'other rounds: {page.column(0)}')
    for number, name in enumerate(rounds):
        wanted, told = held(t.path(name)), table[1 + number][3]['data']
        check(told == [wanted], f'round {name}: {told} bytes instead of {wanted}')
        mapped = sum(sum(row[1 + number]['data']) for row in areas[1:])
        check(mapped == wanted, f'round {name}: {mapped} bytes in the map instead of {wanted}')
    return page


@case
def report_of_a_whole_dump(t):
    t.start_victim('child')
    dump(t, '--downtime-limit', '1', '--max-rounds', '3', code=3)
    t.victim.wait_dumped()
    page = agrees(t, report(t, 'all').out, *(f'all/{number}' for number in range(1, 5)))
    check(page.column(1) == ['they ran'] * 3 + ['stopped, dump'], f'other kinds: {page.column(1)}')
    check(page.column(2) == ['2'] * 4, f'other counts of tasks: {page.column(2)}')
    names = [row[0]['text'] for row in page.tables[1][1:]]
    for pid in t.victim.pids:
        check(any(name.startswith(f'{pid} victim, stack') for name in names), f'no stack of {pid} in {names}')
    check(Page(report(t, 'all/last').out).tables == page.tables, 'another page by the last round itself')


@case
def report_of_rounds_by_criu(t):
    chains.begin(t)
    t.pre_dump('2', '1')
    t.victim.touch()
    t.dump('3', '2')
    page = agrees(t, report(t, '3').out, '1', '2', '3')
    check(page.column(1) == ['stopped', 'stopped', 'stopped, dump'], f'other kinds: {page.column(1)}')
    check('0 ms' not in page.column(5), f'no stop: {page.column(5)}')


@case
def report_of_what_is_not_complete(t):
    t.start_victim()
    dump(t, '--', '--no-such-option', code=1)
    page = Page(report(t, 'all').out)
    check('marked incomplete' in page.text and 'There is no dump' in page.text, 'no warning')
    check(set(page.column(1)) == {'they ran'}, f'other kinds: {page.column(1)}')


@case
def report_of_what_went_to_a_page_server(t):
    """The client's side tells numbers, both together tell all."""
    t.start_victim()
    served(t, '1')
    t.victim.touch()
    server = Server(t, '2', '1')
    t.dump('2', '1', *server.options)
    server.run.finish().expect(0)
    page = Page(report(t, '2').out)
    check(page.column(2) == ['at a page server'] * 2 and len(page.tables) == 1, 'the pages are somewhere else')
    told = [row[3]['data'] for row in page.tables[0][1:]]
    check(told == [[held(t.path(f'server-{name}'))] for name in '12'], f'other numbers: {told}')
    check(len(Page(report(t, 'server-2').out).tables) == 2, 'no map of what the server has')
    merge(t, '1', '2')
    agrees(t, report(t, '2').out, '1', '2')


@case
def report_with_any_bytes_in_names(t):
    """Nothing that a name can hold becomes a part of the page."""
    chains.begin(t)
    t.run('cp', '-r', t.path('1'), t.path('<script>"&amp;\n\x1b[2J')).expect(0)
    page = Page(report(t, '<script>"&amp;\n\x1b[2J').out)
    check('script' not in page.tags and '<script>"&amp;??[2J' in page.text, 'the name is not told as it is')


def damage(name, change):
    def apply(t):
        path, = glob.glob(t.path('2', name))
        with open(path, 'rb') as file:
            data = change(file.read())
        with open(path, 'wb') as file:
            file.write(data)
    return apply


def circle(t):
    os.unlink(t.path('2', 'parent'))
    os.symlink('.', t.path('2', 'parent'))


@variants(without_images=lambda t: shutil.rmtree(t.path('2')) or os.mkdir(t.path('2')),
          without_directory=lambda t: shutil.rmtree(t.path('2')),
          whose_parents_go_round=circle,
          without_its_parent=lambda t: shutil.rmtree(t.path('1')) or open(t.path('1'), 'w').close(),
          cut_short=damage('pagemap-*.img', lambda data: data[:-1]),
          of_another_kind=damage('pagemap-*.img', lambda data: b'x' + data[1:]),
          in_disorder=damage('pagemap-*.img', lambda data: data + data[8:]),
          with_a_wrong_core=damage('core-*.img', lambda data: data[:-1]),
          with_wrong_areas=damage('mm-*.img', lambda data: data[:8]))
def report_of_a_chain(t, harm):
    """No page, and one line that says why."""
    chains.begin(t)
    t.dump('2', '1')
    harm(t)
    run = report(t, '2', '-o', t.path('page'), code=1)
    check(not run.out and not os.path.exists(t.path('page')), 'a page all the same')


@case
def report_on_a_full_disk(t):
    chains.begin(t)
    os.mkdir(t.path('full'))
    t.run('mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', t.path('full')).expect(0)
    check('No space left' in report(t, '1', '-o', t.path('full/page'), code=1).err, 'no word of why')
    check(not os.listdir(t.path('full')), 'half a page')


def picture(path):
    """The colours of a PNG of eight bits a channel: {(red, green, blue): pixels}, and that of its first pixel."""
    with open(path, 'rb') as file:
        data = file.read()
    check(data.startswith(b'\x89PNG\r\n\x1a\n'), f'{path} is no PNG')
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack_from('>I4s', data, at)
        chunks[kind] = chunks.get(kind, b'') + data[at + 8:at + 8 + size]
        at += 12 + size
    width, height, bits, colour = struct.unpack_from('>IIBB', chunks[b'IHDR'])
    channels = {2: 3, 6: 4}[colour]
    check(bits == 8, f'{bits} bits a channel')
    lines, last, colours, first = zlib.decompress(chunks[b'IDAT']), bytes(width * channels), {}, None
    for number in range(height):
        begin = number * (1 + width * channels)
        last = unfilter(lines[begin], bytearray(lines[begin + 1:begin + 1 + width * channels]), last, channels)
        for pixel in zip(last[0::channels], last[1::channels], last[2::channels]):
            colours[pixel] = colours.get(pixel, 0) + 1
        first = first or tuple(last[:3])
    return colours, first


def unfilter(kind, line, above, channels):
    """One line of a PNG (www.w3.org/TR/png, filtering)."""
    for at in range(len(line) if kind else 0):
        left, corner = (line[at - channels], above[at - channels]) if at >= channels else (0, 0)
        up = above[at]
        if kind == 4:
            guess = min(left, up, corner, key=lambda value: abs(left + up - corner - value))
        else:
            guess = (0, left, up, (left + up) // 2)[kind]
        line[at] = line[at] + guess & 255
    return line


def brightness(colour):
    """Relative luminance (www.w3.org/TR/WCAG21)."""
    parts = [part / 255 / 12.92 if part / 255 <= 0.03928 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


def schemes(page):
    """The stylesheet's colours: {name: (red, green, blue)}, in light and in the dark."""
    found = [{name: tuple(bytes.fromhex(colour))
              for name, colour in re.findall(r"--([a-z0-9]+): #([0-9a-f]{6})", block)}
             for block in re.findall(r':root {(.*?)}', page, re.DOTALL)]
    return {'light': found[0], 'dark': found[1]}


@case
def report_can_be_read(t):
    """By those who see little contrast, in both schemes."""
    chains.begin(t)
    for scheme, colours in schemes(report(t, '1').out).items():
        for text, ground in [(text, ground) for ground in ('page', 'tile') for text in ('text', 'soft')] + [
                ('text', 'bar'), ('warn', 'page')]:
            ratio = contrast(colours[text], colours[ground])
            check(ratio >= 4.5, f'{scheme}: {text} on {ground} has a contrast of {ratio:.1f}')


def browse(t, *args):
    """A browser that asks nobody: it has no network here."""
    home = tempfile.mkdtemp(dir=t.dir)
    return t.start('unshare', '--net', 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
                   '--window-size=1000,1000', f'--user-data-dir={home}', *args, f'file://{t.path("page.html")}',
                   env={'HOME': home})


@case
def report_in_a_browser(t):
    """A browser reads the page as it is meant, and shows it in light and in the dark."""
    if not shutil.which('chromium'):
        raise Skip('needs chromium (Debian: chromium), which this machine lacks')
    t.start_victim('child')
    dump(t, '--downtime-limit', '1', '--max-rounds', '3', code=3)
    t.victim.wait_dumped()
    report(t, 'all', '-o', t.path('page.html'))
    runs = [browse(t, f'--blink-settings=preferredColorScheme={number}', f'--screenshot={t.path(scheme)}.png',
                   '--dump-dom') for number, scheme in enumerate(('dark', 'light'))]
    for run in runs:
        run.finish(BROWSER_S).expect(0)
    written, shown = Page(read_text(t.path('page.html'))), Page(runs[0].out)
    check(shown.tables == written.tables and written.tables, 'the browser reads another page')
    for scheme, wanted in schemes(read_text(t.path('page.html'))).items():
        colours, ground = picture(t.path(f'{scheme}.png'))
        check(ground == wanted['page'], f'{scheme}: the page is {ground}')
        missing = [name for name in ('h1', 'h6', 'bar') if colours.get(wanted[name], 0) < 1000]
        check(not missing, f'{scheme}: nothing is drawn in {missing}')
