# SPDX-License-Identifier: GPL-2.0-only
"""Images of a CRIU that is to come, made of those of the one in use: refused by name, or no matter. Its pages are compressed,
or there is something that nobody has thought of yet."""

import glob
import struct

from audits import stopped, verify
from chains import begin, end
from kit import case, check, variants
from report import report

VERSION, FEATURES = 'of version 3, of which nothing is known here', 'features that are not known here'
PACKED = 'has what is not known here (compressed pages?)'


def packed(pages):
    """Field 6 of a pagemap entry, its blocks: a page each, stored as it is (images/pagemap.proto of July 2026)."""
    def number(value):
        return bytes((value >> shift & 0x7f) | (0x80 if value >> shift + 7 else 0)
                     for shift in range(0, max(value.bit_length(), 1), 7))
    sizes = number(4096) * pages
    blocks = b'\x0a' + number(len(sizes)) + sizes + b'\x10' + number(4096 * pages) + b'\x18\x01'
    return b'\x32' + number(len(blocks)) + blocks


def rewrite(path, messages, change):
    """Write the file anew with each message, from `messages` bytes on, as `change` has it; it gets its number."""
    with open(path, 'r+b') as file:
        data = file.read()
        out, at, number = data[:messages], messages, 0
        while at < len(data):
            size, = struct.unpack_from('=I', data, at)
            message = change(number, data[at + 4:at + 4 + size])
            out += struct.pack('=I', len(message)) + message
            at, number = at + 4 + size, number + 1
        file.seek(0)
        file.write(out)
        file.truncate()


def change_entries(t, images, field):
    for path in glob.glob(t.path(images, 'pagemap-[0-9]*.img')):
        rewrite(path, 8, lambda number, message: message + field if number else message)


def set_version(t, images, version):
    """The first field of an inventory."""
    def change(_, message):
        check(message[:2] in (b'\x08\x00', b'\x08\x01', b'\x08\x02'), f'another inventory: {message}')
        return b'\x08' + bytes([version]) + message[2:]
    rewrite(t.path(images, 'inventory.img'), 4, change)


@case
def parent_of_an_unknown_version(t):
    begin(t)
    set_version(t, '1', 3)
    t.pre_dump('2', '1').full(VERSION)
    end(t, '2')


# The number of blocks is not what anybody here looks at.
@variants(compressed=packed(300), unheard_of=b'\x48\x01')
def parent_with_fields(t, field):
    """criu does not look whether it knows how its parent's pages are packed, so all rounds on it are full."""
    begin(t)
    change_entries(t, '1', field)
    t.live('2', '1').full(PACKED)
    t.victim.touch()
    change_entries(t, '2', field)
    t.pre_dump('3', '2').full(PACKED)
    t.victim.touch()
    change_entries(t, '3', field)
    t.dump('4', '3').full(PACKED)
    t.restore('4')


@case
def parent_with_fields_where_nobody_looked(t):
    """Only later entries have them, as no criu writes it: what is clean is told to criu, as in pre-dumps."""
    begin(t)
    for path in glob.glob(t.path('1', 'pagemap-[0-9]*.img')):
        rewrite(path, 8, lambda number, message: message + b'\x48\x01' if number > 1 else message)
    run = t.dump('2', '1').said('criu is told of all clean pages')
    check(run.clean(), 'no page was left to the parent')
    t.restore('2')


@case
def compressed_pages_are_not_audited(t):
    begin(t)
    change_entries(t, '1', packed(300))
    stopped(t)
    check(FEATURES in (err := verify(t, '1', 1).err), err)
    check(FEATURES in (err := report(t, '1', code=1).err), err)
    set_version(t, '1', 3)
    check('inventory.img' in (err := verify(t, '1', 1).err) and FEATURES in err, err)


@case
def pages_that_do_not_add_up(t):
    """A file of pages that is longer than its pagemap tells: something else is between them."""
    begin(t)
    for path in glob.glob(t.path('1', 'pages-*.img')):
        with open(path, 'ab') as file:
            file.write(bytes(4096))
    stopped(t)
    check('bytes it is told to be' in (err := verify(t, '1', 1).err), err)
