"""Free blocks in the memory of a process, which are taken before it forks.

What a fork makes goes where there is room: a block here and one there, and each page (4 kB) in which it finds
one is copied for it.  Where no room is left it gets new pages, and fills them one after the other.
"""
from __future__ import annotations

import os
import sys
from contextlib import suppress

from courierpy.model.numbers import decimal

HEADER_OCTETS = sys.getsizeof(b"")
_kept: list[object] = []       # nobody looks at it


def fill() -> None:
    """What there is of them stays taken, in this process and its forks; where they are not told, nothing is.
    Blocks of more than 512 octets are the C library's, which has few."""
    with suppress(OSError):
        for octets, free in _classes():
            if octets > HEADER_OCTETS:
                _kept.extend([bytes(octets - HEADER_OCTETS) for _ in range(free)])
            else:
                _kept.extend([float(number) for number in range(free)])


def _classes() -> list[tuple[int, int]]:
    """Of the classes of blocks that the interpreter has: octets of a block, and how many are free.  It tells
    them to standard error alone.  OSError."""
    said, before = os.memfd_create("blocks"), -1
    try:
        before = os.dup(2)
        os.dup2(said, 2)
        sys._debugmallocstats()
        os.dup2(before, 2)
        lines = os.pread(said, 1 << 20, 0).splitlines()
    finally:
        for fd in (said, before):
            if fd >= 0:
                os.close(fd)
    rows = [list(map(decimal, line.split())) for line in lines]
    return [(row[1], row[4]) for row in rows if len(row) == 5 and row[1] is not None and row[4] is not None]
