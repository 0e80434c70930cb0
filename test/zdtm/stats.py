# SPDX-License-Identifier: GPL-2.0-only
"""CRIU's stats-dump image, read without pycriu: two magics, a length, and one protobuf message."""

import struct

SERVICE_MAGIC, STATS_MAGIC = 0x55105940, 0x57093306
DUMP_ENTRY = 1
FIELDS = {
    1: 'freezing_time', 2: 'frozen_time', 3: 'memdump_time', 4: 'memwrite_time',  # microseconds
    5: 'pages_scanned', 6: 'pages_skipped_parent', 7: 'pages_written',
}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The (number, value) pairs of a message; the two wire types that this image uses."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        elif key & 7 != 0:
            raise ValueError(f'wire type {key & 7}')
        yield key >> 3, value


def read(path):
    with open(path, 'rb') as image:
        data = image.read()
    service, stats, size = struct.unpack_from('<III', data)
    if (service, stats) != (SERVICE_MAGIC, STATS_MAGIC):
        raise ValueError(f'{path}: not a stats image')
    entry = dict(fields(data[12:12 + size]))[DUMP_ENTRY]
    return {FIELDS[number]: value for number, value in fields(entry) if number in FIELDS}
