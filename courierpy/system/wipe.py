"""Passwords, hashes and keys do not stay in memory when they have been used.

A session runs as its user, who may look into it; what was freed is still there to be found, until
something else is written to its place.  So what holds a secret is overwritten by who made it,
as soon as nobody needs it: each copy, also those in between.  Values of one octet or character
are never touched: the interpreter shares them.
"""
from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from typing import Any

_OCTETS = bytes.__basicsize__ - 1      # where those of a bytes object are
_ASCII = sys.getsizeof("") - 1         # where the characters of a str are that is ASCII
_OTHER = sys.getsizeof("\xe9") - 2     # and of any other


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


def wipe_found(*secrets: bytes) -> None:
    """Overwrite these octets wherever they are in the process's own memory, for what libraries have
    freed: nothing that somebody still uses may look like them.  The values themselves go too.
    Where the kernel does not let us look, nothing is done."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            regions = [line.split(None, 5) for line in file]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            for words in regions:
                if words[1].startswith("rw") and (len(words) < 6 or words[5].strip() == "[heap]"):
                    start, end = (int(word, 16) for word in words[0].split("-"))
                    _overwrite(memory, start, end, secrets)
    except OSError:
        pass
    wipe(*secrets)


def _overwrite(memory: FileIO, start: int, end: int, secrets: tuple[bytes, ...]) -> None:
    memory.seek(start)
    content = bytearray(end - start)
    size = memory.readinto(content)
    for secret in secrets:
        own = id(secret) + _OCTETS
        at = content.find(secret, 0, size)
        while at >= 0:
            if start + at != own:
                memory.seek(start + at)
                memory.write(bytes(len(secret)))
            at = content.find(secret, at + 1, size)
    wipe(content)
