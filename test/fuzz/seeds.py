#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Write the inputs that fuzzing begins with: seeds.py DIRECTORY, a subdirectory for each target."""

import hashlib
import os
import platform
import struct
import sys

AREA = '1000-3000 rw-p 00000000 00:00 0 '
MAPS = [
    AREA + '\n',
    AREA + '\n3000-4000 r--p 00001000 fe:01 123                        /usr/lib/a b.so\n'
    '5000-6000 ---p 00000000 00:00 0 \n8000-9000 rw-s 00000000 00:01 7        /dev/zero (deleted)\n',
    '5000-6000 rw-p 00000000 00:00 0      [heap]\n6000-7000 rw-p 00000000 00:00 0      [anon:my pool]\n'
    '7000-8000 rw-p 00000000 00:11 8      /[aio] (deleted)\n'
    '8000-9000 rw-p 00000000 00:0f 9   /anon_hugepage (deleted)\n',
    '7ffc00000000-7ffd00000000 rw-p 00000000 00:00 0      [stack]\n'
    '7ffe00000000-7ffe00004000 r--p 00000000 00:00 0 [vvar]\n'
    '7ffe00004000-7ffe00006000 r-xp 00000000 00:00 0      [vdso]\n'
    'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0     [vsyscall]\n',
]


def smaps(maps, flags='rd wr mr mw me ac sd'):
    """The same areas as smaps shows them."""
    return ''.join(f'{line}\nSize:                  8 kB\nAnonHugePages:         0 kB\nVmFlags: {flags} \n'
                   for line in maps.splitlines())


def field(number, value):
    """One field of a protobuf message: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def epoch_image(version, *tasks):
    return b'PAGESCAN' + field(1, version) + b''.join(
        field(2, field(1, pid) + field(2, start) + field(3, tracker) + field(4, epoch))
        for pid, start, tracker, epoch in tasks)


TRACKER = b'0123456789abcdef'
GET, PUT, DROP, NEXT = 1, 2, 3, 4


def message(op, pid, start=99, tracker=TRACKER, epoch=1, status=0):
    """struct keeper_message in this machine's layout."""
    return struct.pack('@IIi4xi4xQQ16sQq', 1, op, status, pid, start, 4096, tracker, epoch, 0)


def packet(op, pid, *files, **fields):
    """A step of fuzz_keeper.c: a message, with these of its files."""
    choice = len(files) | sum(which << 2 + 2 * at for at, which in enumerate(files))
    return bytes([0, 0, choice]) + message(op, pid, **fields)


FIRST_TASK, SECOND_TASK = 2, 3
TASKS_END, HANG_UP = bytes([0xf0]), bytes([0xf8])


def answer(files=0, **fields):
    """What fuzz_client.c's keeper says."""
    return bytes([files, 0]) + message(GET, **fields)


# The executable of fuzz_elf.c: its segments, and where in them the seeds put what.
BASE, DATA = 0x10000000, 0x20000
STRINGS, SYMBOLS, TABLES, DYNAMIC, SLOTS = 0, 0x40, 0xa0, DATA, DATA + 0x200
JUMP_SLOT, GLOB_DAT = (1026, 1025) if platform.machine() == 'aarch64' else (7, 6)
STRTAB, SYMTAB, RELA, RELASZ, STRSZ, PLTREL, PLTRELSZ, JMPREL = 5, 6, 7, 8, 10, 20, 2, 23


def executable(base=BASE, relro=0, **changed):
    """Imports of wanted (twice) and other. Addresses as glibc leaves them (base), or as musl does (0)."""
    values = {STRTAB: base + STRINGS, STRSZ: 24, SYMTAB: base + SYMBOLS, JMPREL: base + TABLES, PLTRELSZ: 48,
              PLTREL: RELA, RELA: base + TABLES + 48, RELASZ: 24}
    values.update({globals()[name]: value for name, value in changed.items()})
    symbols = b''.join(struct.pack('=I20x', name) for name in (0, 1, 10))
    tables = b''.join(struct.pack('=QQQ', SLOTS + 8 * at, symbol << 32 | kind, 0)
                      for at, (symbol, kind) in enumerate([(1, JUMP_SLOT), (2, JUMP_SLOT), (1, GLOB_DAT)]))
    text = (b'\0wanted64\0other\0'.ljust(SYMBOLS, b'\0') + symbols).ljust(TABLES, b'\0') + tables
    dynamic = b''.join(struct.pack('=QQ', *entry) for entry in values.items())
    return struct.pack('=IIII', DYNAMIC, DATA, relro, len(text)) + text + dynamic


def pagemap(*entries, pages_id=1, magic=0x56084025):
    """pagemap-7.img, behind its length, as fuzz_chain.c and fuzz_entries.c take it."""
    messages = [field(1, pages_id)] + [
        field(1, addr) + field(2, pages & 2**32 - 1) + field(4, flags) + (field(5, pages) if wide else b'')
        for addr, pages, flags, wide in entries]
    data = struct.pack('=II', 0x54564319, magic) + b''.join(struct.pack('=I', len(m)) + m for m in messages)
    return struct.pack('=H', len(data)) + data


IN_PARENT, LAZY, PRESENT = 1, 2, 4
YOUNG = pagemap((0x10000, 2, PRESENT, False), (0x20000, 16, IN_PARENT, True), (0x40000, 1, LAZY | PRESENT, False))
OLD = pagemap((0x10000, 1, PRESENT, False), (0x20000, 8, PRESENT, False), (0x30000, 16, IN_PARENT, False))


def image(kind, magic, *messages):
    """An image of fuzz_visit.c, which takes the kind from the first byte."""
    return bytes([kind]) + struct.pack('=II', 0x54564319, magic) + b''.join(
        struct.pack('=I', len(m)) + m for m in messages)


def area(start, end, shmid=0, status=1 << 9):
    return field(14, field(1, start) + field(2, end) + field(4, shmid) + field(5, 3) + field(6, 2) +
                 field(7, status))


RUN = field(1, 0x10000) + field(2, 2) + field(4, 4)

# Frames in short, as fuzz_wire.c takes them; the types are enum wire_type of move/wire.h.
ROUND, FILE, DATA, LZ4, FILE_END, FILE_DROP, PARENT, ROUND_END, LAST, GO = range(2, 12)


def frame(kind, content=b''):
    return bytes([kind, len(content)]) + content


def sent(name, *frames, sent=0, end=64):
    return frame(FILE, name) + b''.join(frames) + frame(FILE_END, struct.pack('<QQ', sent, end))


def place(offset=0, file=1):
    return struct.pack('<QI', offset, file)


def round_of(number, *files, end=ROUND_END):
    parent = frame(PARENT) if number > 1 else b''
    return frame(ROUND, struct.pack('<I', number)) + parent + b''.join(files) + frame(end)


SAME = 21
PAGE_SIZE = os.sysconf('SC_PAGE_SIZE')
HELD = hashlib.sha256(b'\x01' * PAGE_SIZE).digest()
PAGES = sent(b'pages-1.img', frame(DATA, place(8) + b'data'), sent=4)
PACKED = sent(b'pages-1.img', frame(LZ4, place() + struct.pack('<I', 5) + b'\x50abcde'), sent=5)
KNOWN = sent(b'pages-1.img', frame(SAME, place() + HELD), frame(SAME, place(PAGE_SIZE) + 2 * HELD), sent=3 * PAGE_SIZE)
# By a connection of its own.
ASIDE = 0x80
PAGES_ASIDE = sent(b'pages-1.img', frame(ASIDE | DATA, place(8) + b'data'),
                   frame(ASIDE | LZ4, place() + struct.pack('<I', 5) + b'\x50abcde'), sent=9)


def outline(*areas):
    return b''.join(field(1, b''.join(field(at + 1, value) for at, value in enumerate(area))) for area in areas)


SEEDS = {
    'wire': [
        round_of(1, PAGES), round_of(1, PACKED) + round_of(2, sent(b'core-7.img'), PAGES) + round_of(3, end=LAST),
        round_of(1, KNOWN), round_of(1, sent(b'a', frame(SAME, place() + bytes(32)))),
        round_of(1, sent(b'a', frame(ASIDE | SAME, place() + HELD), sent=PAGE_SIZE)), round_of(1, frame(SAME, place() + HELD)),
        round_of(1, sent(b'a', frame(SAME, place() + HELD[1:]))),
        round_of(1, PAGES_ASIDE), round_of(1, PAGES_ASIDE, sent(b'a', frame(ASIDE | DATA, place(0, 2) + b'b'), sent=1)),
        round_of(1, PAGES, sent(b'a', frame(ASIDE | DATA, place(0, 3)))), round_of(1, PAGES) + frame(ASIDE | GO),
        round_of(1, frame(FILE, b'a') + frame(FILE_DROP, bytes(8)), PAGES) + frame(GO), round_of(2), frame(LAST),
        round_of(1, sent(b'../x')), round_of(1, sent(b'/x')), round_of(1, sent(b'parent')),
        round_of(1, sent(b'a', frame(DATA, place(127 << 56) + b'far away'))),
        round_of(1, sent(b'a', frame(LZ4, place() + b'\xff' * 44))),
        round_of(1) + b'\xff' + struct.pack('<IIQ', ROUND, 0, 2**63), b'\xff' + b'GET / HTTP/1.0\r\n\r\n',
    ],
    'outline': [
        outline(), outline((0x1000, 0x3000)), outline((0x1000, 0x3000), (0x3000, 0x5000, 3), (2**47, 2**47 + 4096, 1)),
        outline((0x3000, 0x1000)), outline((0x1000, 0x2001)), outline((0x3000, 0x5000), (0x4000, 0x6000)),
        outline((0x1000, 2**63)), outline((0x1000, 0x2000, 4)), outline((0x1000, 0x2000))[:-1],
    ],
    'visit': [
        image(0, 0x56084025, field(1, 1), RUN, field(1, 0x20000) + field(2, 0) + field(3, 1) + field(5, 2**33)),
        image(0, 0x56084025, field(1, 1), RUN, RUN), image(0, 0x56084025), image(0, 0x56084025, field(1, 1), b''),
        image(1, 0x57492820, field(5, 0x7000) + area(0x1000, 0x3000, 5, 1 << 6) + area(0x6000, 0x8000)),
        image(1, 0x57492820, field(5, 0) + area(0x3000, 0x3000)), image(1, 0x57492820, field(5, 0) + field(14, b'')),
        image(2, 0x55053847, field(3, field(6, b'a command that is long'))), image(2, 0x55053847, field(3, b'')),
        image(3, 0x56303138, field(2, 5) + field(3, field(6, b'/a/file')), field(2, 6)), image(3, 0x56303138, b'\xff'),
    ],
    'chain': [
        YOUNG, YOUNG + OLD, YOUNG + OLD + OLD, pagemap(), pagemap(pages_id=9), pagemap(magic=1), YOUNG[:30],
        pagemap((2**64 - 0x1000, 1, PRESENT, True)), pagemap((2**64 - 0x1000, 2, PRESENT, True)),
        pagemap((0, 2**63 // 4096, PRESENT, True), (2**63, 1, PRESENT, True)),
        pagemap((0, 2**51 - 1, PRESENT, True), (2**63, 2, PRESENT, True)),
        pagemap((0x10800, 1, PRESENT, False)),
        pagemap((0x20000, 1, PRESENT, False), (0x10000, 1, PRESENT, False)), pagemap((0x10000, 1, 8, False)),
    ],
    'entries': [
        YOUNG, YOUNG + bytes([0, 1, 1, 3, 14, 4]), OLD + bytes([1, 200, 3, 9]), pagemap() + bytes([7, 7]), YOUNG[:30],
        pagemap((2**64 - 0x1000, 1, PRESENT, True)), pagemap((0, 2**52, PRESENT, True)), pagemap(magic=1),
        pagemap((0x20000, 1, PRESENT, False), (0x10000, 1, PRESENT, False)), pagemap((0x10800, 1, PRESENT, False)),
    ],
    'elf': [
        executable(), executable(base=0), executable(relro=0x1000),
        executable(PLTRELSZ=24), executable(STRSZ=15), executable(PLTREL=17), executable(RELASZ=2**63),
        executable(SYMTAB=BASE + DATA), executable(STRTAB=2**64 - 1), executable(JMPREL=BASE + DATA + 0x1800 - 48),
    ],
    'identity': [b'x', b'a) S 1 2 (b', b')', b'7 (x) S ' + b'1 ' * 26],
    'keeper': [
        packet(PUT, 7, 0, FIRST_TASK) + packet(GET, 7) + packet(NEXT, 0) + packet(DROP, 0) + packet(GET, 7),
        packet(PUT, 7, 0, FIRST_TASK) + packet(PUT, 7, 1, SECOND_TASK, epoch=2) + HANG_UP + packet(GET, 7),
        packet(PUT, 7, 0, FIRST_TASK) + packet(PUT, 8, 1, SECOND_TASK) + TASKS_END + packet(NEXT, 0) + packet(DROP, 7),
        packet(PUT, 7, 0, FIRST_TASK) + packet(GET, 7, start=98) + packet(PUT, 7, 0, 0, epoch=3) + packet(PUT, 9, 1),
        b''.join(packet(PUT, pid, 0, FIRST_TASK) for pid in range(5)) + packet(PUT, 3, 1, SECOND_TASK, epoch=2),
        b''.join(packet(PUT, pid, 0, FIRST_TASK) for pid in (8, 7, 9)) + packet(NEXT, 0) + packet(NEXT, 7),
        packet(PUT, 7, 0, 2, 2) + packet(9, 7) + bytes([0, 3, 2]) + b'abc',
    ],
    'client': [bytes([call]) + b''.join(answers) for call in range(4) for answers in (
        [answer(pid=7)], [answer(1, pid=7), answer(2, pid=8)], [answer(3, pid=7)],
        [answer(pid=7, status=-2)], [answer(pid=7), answer(pid=8), answer(pid=0, status=-2)])],
    'epoch': [
        epoch_image(1),
        epoch_image(1, (7, 99, TRACKER, 1)),
        epoch_image(1, (7, 1 << 40, TRACKER, 1), (2**31 - 1, 0, bytes(16), 2**64 - 1)),
        epoch_image(2, (7, 99, TRACKER, 1)),
        epoch_image(1, (2**31, 99, TRACKER[:15], 1)),
    ],
    'maps': [text.encode() for text in MAPS],
    'smaps': [(smaps(text) + '\0' + text).encode() for text in MAPS] + [
        (smaps(MAPS[1]) + '\0' + AREA.replace('1000', '2000') + '\n').encode(),
        (smaps(MAPS[0], 'rd wr dp') + '\0' + MAPS[0]).encode(),
        (smaps(MAPS[0], 'rd wr ss') + '\0' + MAPS[0]).encode(),
        (smaps(MAPS[0]) + '\0' + MAPS[1]).encode(),
    ],
}


def main():
    for target, inputs in SEEDS.items():
        directory = os.path.join(sys.argv[1], target)
        os.makedirs(directory)
        for number, data in enumerate(inputs):
            with open(os.path.join(directory, f'{number:02}'), 'wb') as file:
                file.write(data)


main()
