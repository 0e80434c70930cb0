# SPDX-License-Identifier: GPL-2.0-only
"""The chart of docs/performance.svg: three bars a row, nanoseconds a page on a logarithmic scale."""

import math
from xml.sax.saxutils import escape

SERIES = (('pagemap_ns', 'read pagemap', 'a'), ('criu_mask_ns', "CRIU 4's single mask", 'b'),
          ('pagescan_ns', 'criu-pagescan', 'c'))
ROWS = (
    '4 KiB pages, first round',
    '4 KiB pages, nothing written',
    '4 KiB pages, 0.1 % at random',
    '4 KiB pages, 1 % at random',
    '4 KiB pages, 10 % at random',
    '4 KiB pages, all written',
    'huge pages, first round',
    'huge pages, nothing written',
    'huge pages, 0.1 % at random',
    'private file, 1 % at random',
    '10,000 areas, 1 % at random',
    'swapped out, 1 % at random',
)
LEFT, WIDTH, RIGHT = 220, 520, 60
BAR, GAP, TOP = 11, 14, 74
LOW, HIGH = 0.01, 1000

STYLE = '''
text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 10px; fill: #57606a }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d0d7de }
.a { fill: #a8b1bb } .b { fill: #d98a29 } .c { fill: #1f77c9 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
.a { fill: #6e7781 } .b { fill: #e3a04f } .c { fill: #4c9be8 }
}'''


def x(value):
    """The scale: LOW at the left edge of the bars, HIGH at the right one."""
    return LEFT + WIDTH * math.log(max(value, LOW) / LOW) / math.log(HIGH / LOW)


def label(value):
    return f'{value:.0f}' if value >= 10 else f'{value:.1f}' if value >= 1 else f'{value:.2f}'


def draw(rows, machine):
    by_name = {row['name']: row for row in rows}
    shown = [by_name[name] for name in ROWS if name in by_name]
    pitch = len(SERIES) * BAR + GAP
    bottom = TOP + len(shown) * pitch
    height, width = bottom + 44, LEFT + WIDTH + RIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Nanoseconds a resident page to find a process\'s pages, three ways">',
        f'<style>{STYLE}\n</style>',
        '<text class="title" x="12" y="24">Finding a process\'s pages: nanoseconds a resident page</text>',
    ]
    at = 12
    for _, name, css in SERIES:
        out.append(f'<rect class="{css}" x="{at}" y="38" width="11" height="11"/>'
                   f'<text x="{at + 16}" y="48">{escape(name)}</text>')
        at += 40 + 7 * len(name)
    for power in range(round(math.log10(LOW)), round(math.log10(HIGH)) + 1):
        tick = 10.0 ** power
        out.append(f'<line class="grid" x1="{x(tick):.1f}" y1="{TOP - 8}" x2="{x(tick):.1f}" y2="{bottom}"/>'
                   f'<text class="small" x="{x(tick):.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for number, row in enumerate(shown):
        y = TOP + number * pitch
        out.append(f'<text x="{LEFT - 8}" y="{y + BAR * 1.5 + 4:.1f}" text-anchor="end">{escape(row["name"])}</text>')
        for bar, (key, _, css) in enumerate(SERIES):
            end = x(row[key])
            out.append(f'<rect class="{css}" x="{LEFT}" y="{y + bar * BAR}" width="{end - LEFT:.1f}" '
                       f'height="{BAR - 1}"/><text class="small" x="{end + 4:.1f}" y="{y + bar * BAR + 9}">'
                       f'{label(row[key])}</text>')
    out.append(f'<text class="small" x="12" y="{bottom + 34}">{escape(machine["cpu"])}, kernel '
               f'{escape(machine["kernel"])}, CRIU {escape(machine["criu"])}; logarithmic scale, shorter is better'
               f'</text>')
    out.append('</svg>')
    return '\n'.join(out) + '\n'
