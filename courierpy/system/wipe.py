"""Passwords, hashes and keys do not stay in memory when they have been used.

A session runs as its user, who may look into it; what was freed is still there to be found, until
something else is written to its place.  So what holds a secret is overwritten by who made it,
as soon as nobody needs it: each copy, also those in between.  Values of one octet or character
are never touched: the interpreter shares them.
"""
from __future__ import annotations

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import FileIO
    from typing import Any

_OCTETS = bytes.__basicsize__ - 1      # where those of a bytes object are
_ASCII = sys.getsizeof("") - 1         # where the characters of a str are that is ASCII
# and of any other; a str itself says how large it is with its copy in UTF-8, where it has one already
_POINTER = struct.calcsize("P")
_OTHER = str.__basicsize__ - _POINTER


def wipe(*values: bytes | bytearray | str | None) -> None:
    """Overwrite these values where they are.  Nobody may use them any more, nor know them by their
    content.  Without ctypes nothing is done: no process that becomes the next program lacks it."""
    ctypes: Any = sys.modules.get("ctypes")
    for value in values:
        if value is None or len(value) < 2:
            continue
        if isinstance(value, bytearray):
            value[:] = bytes(len(value))
        elif ctypes is None:
            continue
        elif isinstance(value, bytes):
            ctypes.memset(id(value) + _OCTETS, 0, len(value))
        elif value.isascii():
            ctypes.memset(id(value) + _ASCII, 0, len(value))
        else:
            highest = ord(max(value))
            width = 1 if highest < 0x100 else 2 if highest < 0x10000 else 4
            ctypes.memset(id(value) + _OTHER, 0, width * len(value))
            # what it is in UTF-8: octets, and where they are
            size = ctypes.c_ssize_t.from_address(id(value) + _ASCII).value
            copy = ctypes.c_void_p.from_address(id(value) + _ASCII + _POINTER).value
            if copy:
                ctypes.memset(copy, 0, size)


def wipe_found(*secrets: bytes) -> None:
    """Overwrite these octets wherever they are in the process's own memory, for what libraries have
    freed: nothing that somebody still uses may look like them.  The values themselves go too.
    Where the kernel does not let us look, nothing is done.

    What is freed may be given to us at any moment, with the allocator's own words in the middle of what was
    found a moment ago.  So all that this needs is there before it looks, and each place is looked at again
    before it is written to.
    """
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            regions = _written(file)
        content = bytearray(max((end - start for start, end in regions), default=0))
        wanted = [(secret, bytes(len(secret)), bytearray(len(secret))) for secret in secrets]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            for start, end in regions:
                _overwrite(memory, start, memoryview(content)[:end - start], content, wanted)
        wipe(content, *(found for _, _, found in wanted))
    except OSError:
        pass
    wipe(*secrets)


def _written(maps: Iterable[str]) -> list[tuple[int, int]]:
    """Of the lines of /proc/self/maps, where the memory is that was asked for and can be written to."""
    found = []
    for line in maps:
        words = line.split(None, 5)
        if words[1].startswith("rw") and (len(words) < 6 or words[5].strip() == "[heap]"):
            start, end = (int(word, 16) for word in words[0].split("-"))
            found.append((start, end))
    return found


def _overwrite(memory: FileIO, start: int, room: memoryview, content: bytearray,
               wanted: list[tuple[bytes, bytes, bytearray]]) -> None:
    """In one region.  ``room``: what of ``content`` is for it.  ``wanted``: of each secret also as many zeros
    and room for as much."""
    memory.seek(start)
    size = memory.readinto(room)
    for secret, zeros, found in wanted:
        own = id(secret) + _OCTETS
        at = content.find(secret, 0, size)
        while at >= 0:
            place = start + at
            memory.seek(place)
            memory.readinto(found)
            if found == secret and place != own:
                memory.seek(place)
                memory.write(zeros)
            at = content.find(secret, at + 1, size)
