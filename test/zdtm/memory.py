# SPDX-License-Identifier: GPL-2.0-only
"""The private memory of two processes that stand still, compared: areas, rights, VmFlags, and every byte."""

import ctypes
import errno
import fcntl
import itertools
import re
import struct

PAGE = 4096
PIECE = 1 << 20
GUARD = b'guarded!' * (PAGE // 8)
HEAD = re.compile(r'([0-9a-f]+)-([0-9a-f]+) (\S+) (\S+) \S+ \S+ *(.*)')
# Nobody's memory: the kernel's own pages.
KERNELS = ('[vvar]', '[vvar_vclock]', '[vdso]', '[vsyscall]')
# include/uapi/linux/fs.h
PAGEMAP_SCAN, SCAN, REGION = 0xc0606610, struct.Struct('12Q'), struct.Struct('3Q')
PRESENT, SWAPPED = 1 << 3, 1 << 4
REGIONS = 1000


def areas(pid):
    """
    Of each private area (start, end), and what tells one from another: rights, where it lies in a file, name, VmFlags.
    Neighbours that are alike are one: whether the kernel has merged them depends on where they have been. So does
    whether it goes on accounting for what is not writable any more ("ac", mm/mprotect.c): only of what had pages.
    """
    found = []
    with open(f'/proc/{pid}/smaps') as smaps:
        for line in smaps:
            if head := HEAD.match(line):
                start, end, rights, offset, name = head.groups()
                start, end = int(start, 16), int(end, 16)
            elif line.startswith('VmFlags:') and rights[3] == 'p' and name not in KERNELS:
                origin = start - int(offset, 16) if name.startswith('/') else None
                flags = set(line.split()[1:])
                what = rights, origin, name, ' '.join(sorted(flags if 'wr' in flags else flags - {'ac'}))
                if found and found[-1][1] == start and found[-1][2:] == what:
                    start = found.pop()[0]
                found.append((start, end, *what))
    return found


def present(pagemap, start, end):
    """The ranges of [start, end) in which there are pages, of memory or of swap."""
    vector = ctypes.create_string_buffer(REGION.size * REGIONS)
    while start < end:
        arg = bytearray(SCAN.pack(SCAN.size, 0, start, end, 0, ctypes.addressof(vector), REGIONS, 0, 0, 0,
                                  PRESENT | SWAPPED, PRESENT | SWAPPED))
        count = fcntl.ioctl(pagemap, PAGEMAP_SCAN, arg)
        for first, last, _ in itertools.islice(REGION.iter_unpack(vector), count):
            yield first, last
            start = last
        if count < REGIONS:
            return


def union(ranges):
    """Ascending, none touching another."""
    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    return merged


def read(memory, start, end):
    """A guard page cannot be read: it counts as a page of GUARD."""
    try:
        memory.seek(start)
        data = b''
        while len(data) < end - start:
            data += memory.read(end - start - len(data))
        return data
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    if end - start == PAGE:
        return GUARD
    return b''.join(read(memory, at, at + PAGE) for at in range(start, end, PAGE))


def differing(pids, start, end):
    """The addresses of the pages of an area that are not equal, and how many have been compared."""
    files = [[open(f'/proc/{pid}/{name}', 'rb', buffering=0) for name in ('pagemap', 'mem')] for pid in pids]
    wrong, compared = [], 0
    for first, last in union(range_ for pagemap, _ in files for range_ in present(pagemap, start, end)):
        for at in range(first, last, PIECE):
            ours, theirs = (read(memory, at, min(at + PIECE, last)) for _, memory in files)
            compared += len(ours) // PAGE
            if ours != theirs:
                wrong += [at + i for i in range(0, len(ours), PAGE) if ours[i:i + PAGE] != theirs[i:i + PAGE]]
    for file in itertools.chain(*files):
        file.close()
    return wrong, compared


def compare(ours, theirs):
    """How many pages were compared, and the first difference between two processes, or None."""
    lists, compared = (areas(ours), areas(theirs)), 0
    for one, other in itertools.zip_longest(*lists):
        if one != other:
            return compared, f'areas {one and (f"{one[0]:x}-{one[1]:x}", *one[2:])} and ' \
                             f'{other and (f"{other[0]:x}-{other[1]:x}", *other[2:])}'
    for start, end, *what in lists[0]:
        wrong, pages = differing((ours, theirs), start, end)
        compared += pages
        if wrong:
            return compared, f'{len(wrong)} of {pages} pages, {wrong[0]:x} first, in {start:x}-{end:x} {what}'
    return compared, None
