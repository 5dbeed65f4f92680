"""``courierimapuiddb``: which UID belongs to which message.

A text file: ``1 <uidvalidity> <nextuid>``, then ``<uid> <base name>`` a line,
ascending.  Only a file that is not there means a new folder; one that cannot be
read is an error, never a reason to number anew.
"""
from __future__ import annotations

import re

from courierpy.maildir.errors import trouble

NAME = "courierimapuiddb"
_HEADER = re.compile(rb"(\d+) (\d+) (\d+)\s*$")


class UidDb:
    """``names``: base name -> uid, in the order of the file."""

    __slots__ = ("names", "uidnext", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, names: dict[bytes, int]) -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.names = names


def read(path: str) -> UidDb | None:
    """None when there is none, or its header is no header (UIDs start anew)."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise trouble(path, error) from None
    return parse(data)


def parse(data: bytes) -> UidDb | None:
    head, _, body = data.partition(b"\n")
    match = _HEADER.match(head)
    if match is None or match[1] != b"1":
        return None
    names: dict[bytes, int] = {}
    highest = 0
    for line in body.split(b"\n"):
        number, blank, name = line.partition(b" ")
        if blank and number.isdigit():
            uid = int(number)
            names[name] = uid
            highest = max(highest, uid)
    return UidDb(int(match[2]), max(int(match[3]), highest + 1), names)


def render(uidvalidity: int, uidnext: int, rows: list[tuple[int, bytes]]) -> bytes:
    lines = [b"1 %d %d\n" % (uidvalidity, uidnext)]
    lines += [b"%d %s\n" % row for row in rows]
    return b"".join(lines)
