# SPDX-License-Identifier: GPL-2.0-only
"""What the tests read out of the manuals in docs/man: sections, options, commands of examples."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAN = os.path.join(ROOT, 'docs', 'man')
ESCAPES = {r'\-': '-', r'\(dq': '"', r'\e': '\\', r'\fR': '', r'\fB': '', r'\fI': '', r'\fP': ''}


def read(*path):
    with open(os.path.join(ROOT, *path), errors='replace') as file:
        return file.read()


def names():
    return sorted(os.listdir(MAN))


def plain(text):
    """As a reader sees it, apart from the lines of macros."""
    return re.sub(r'\\(?:-|\(dq|e|f[RBIP])', lambda found: ESCAPES[found[0]], text)


def section(page, title):
    """The source of a section of docs/man/PAGE, None where it has none."""
    found = re.search(rf'^\.SH "?{re.escape(title)}"?\n(.*?)(?=^\.SH |\Z)', read('docs', 'man', page), re.M | re.S)
    return found and found[1]


def options(page):
    """Those that the section OPTIONS explains; `--` among them where it stands alone."""
    tags = re.findall(r'^\.TP\n\.(?:B|BI|BR|I) (.*)$', plain(section(page, 'OPTIONS') or ''), re.M)
    return {word for tag in tags for word in re.findall(r'(?<![\w-])(--?[a-zA-Z][\w-]*|--(?= |$))', tag)}


def examples(page):
    """The commands of its examples, a text each, by what the title of their subsection is."""
    found = {}
    title = ''
    for part in re.split(r'^(\.SS .*)$', section(page, 'EXAMPLES') or '', flags=re.M):
        if part.startswith('.SS '):
            title = part[4:].strip('"')
        else:
            found.setdefault(title, []).extend(plain(text) for text in re.findall(r'^\.EX\n(.*?)^\.EE$', part, re.M | re.S))
    return found
