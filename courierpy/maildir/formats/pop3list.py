"""``courierpop3dsizelist``: which UIDL and which size belong to which message.

A text file: ``/3 <nextuid> <uidvalidity>``, then ``<name in cur/> <octets> <uid>:<uidvalidity>:<utf8>`` a
line.  A message's UIDL is ``UID<uid>-<uidvalidity>``, of the line's own numbers, or ``UID<uid>`` where that
uidvalidity is 0.  The octets are Courier's: those on disk and one for each line feed, whatever stands before
it.  ``utf8`` is 1 where the header has octets above 127.  Lines of version 2 lack that.  Of versions before,
and of what has none, Courier takes over the header alone, if there is one, and numbers anew; so it is here.

Names are told apart by all before their last colon; the order is Courier's (by_number).
"""
from __future__ import annotations

import os
import re
from operator import itemgetter

from courierpy.maildir.files import content
from courierpy.maildir.names import base
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "courierpop3dsizelist"
VERSIONS = (2, 3)
MAX_NUMBER = 10 ** 18 - 1          # of a UID or a uidvalidity that is taken over
_HEADER = re.compile(rb"/(\d{1,9}) (\d{1,20})(?: (\d{1,20}))?\s*")
# a UID of 0 is none, as with Courier
_LINES = re.compile(rb"^([^\n]+) (\d{1,20}) ([1-9]\d{0,17}):(\d{1,18})(?::(\d{1,3}))?\s*$", re.M)
_PLAIN = re.compile(rb"(?:[0-9]{10}\.[^\n:]*:[^\n:]*\n)*")          # names that sort as octets
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([-+]?)0*([0-9]{1,255})")     # what atol() reads
_SIGNED = bytes((octet + 128) & 255 for octet in range(256))        # Courier compares signed characters
_LARGEST = (1 << 63) - 1

# of one message, as it stands there: name in cur/, octets as Courier counts them, UID, uidvalidity, utf8.
# There may be a hundred thousand, of which most sessions need nothing but that they are there
Line = tuple[bytes, bytes, bytes, bytes, bytes]
_FILE, _OCTETS, _UID, _UIDVALIDITY, _UTF8 = range(5)


def uidl(line: Line) -> bytes:
    """RFC 1939 7: 1 to 70 characters, never used again."""
    validity = line[_UIDVALIDITY].lstrip(b"0")
    return b"UID%s-%s" % (line[_UID], validity) if validity else b"UID%s" % line[_UID]


class SizeList:
    """``uidvalidity``: of messages that are numbered next; ``uidnext``: the first of their numbers.
    ``lines``: by base name.  Whoever reads one may add to it."""

    __slots__ = ("lines", "uidnext", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int = 1, lines: dict[bytes, Line] | None = None) -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.lines = {} if lines is None else lines

    def number(self, file: bytes, octets: int, utf8: bool) -> None:
        """A new message, by its name in cur/."""
        self.lines[base(file)] = (file, b"%d" % octets, b"%d" % self.uidnext, b"%d" % self.uidvalidity,
                                  b"%d" % utf8)
        self.uidnext += 1

    def render(self, files: Iterable[bytes]) -> bytes:
        """The file, with the lines of these names in cur/ in their order."""
        rows = ((file, *self.lines[base(file)][1:]) for file in files)
        return b"/3 %d %d\n" % (self.uidnext, self.uidvalidity) + b"".join(
            [b"%s %s %s:%s:%s\n" % (file, octets, uid, validity, utf8 or b"0")
             for file, octets, uid, validity, utf8 in rows])


def parse(data: bytes, now: int) -> SizeList:
    """What a file says.  ``now``: the uidvalidity where it says none, in seconds: so no UIDL comes twice."""
    header = _HEADER.fullmatch(data[:data.find(b"\n") + 1] or data)
    if header is None:
        return SizeList(now)
    found = SizeList(decimal(header[3] or b"", MAX_NUMBER) or now)
    if decimal(header[1]) in VERSIONS:
        rows: list[Line] = _LINES.findall(data, header.end())
        found.lines = _told_apart(dict(zip(map(base, map(itemgetter(_FILE), rows)), rows, strict=True)))
    mine = b"%d" % found.uidvalidity
    used = [decimal(line[_UID]) or 0 for line in found.lines.values() if line[_UIDVALIDITY] == mine]
    found.uidnext = max(decimal(header[2], MAX_NUMBER) or 1, max(used, default=0) + 1)
    return found


def _told_apart(lines: dict[bytes, Line]) -> dict[bytes, Line]:
    """No two with one UIDL: the second is as if it were not there."""
    keys = list(map(itemgetter(_UID, _UIDVALIDITY), lines.values()))
    if len(set(keys)) == len(lines):
        return lines
    seen: set[tuple[bytes, ...]] = set()
    found = {}
    for key, (name, line) in zip(keys, lines.items(), strict=True):
        if key not in seen:
            seen.add(key)
            found[name] = line
    return found


def read(folder: str) -> bytes | None:
    """The file in a Maildir, as files.content()."""
    return content(os.path.join(folder, NAME))


def by_number(files: Iterable[bytes]) -> list[bytes]:
    """Names in cur/ in Courier's order: by the number that they begin with, as atol() reads it, then by all
    up to the last colon and with it, as signed characters; a name without a colon ends in NUL."""
    rows = list(files)
    text = b"\n".join(rows) + b"\n"
    if text.isascii() and _PLAIN.fullmatch(text):
        return sorted(rows, key=_upto_colon)
    return sorted(rows, key=_key)


def _upto_colon(file: bytes) -> bytes:
    return file[:file.rfind(b":") + 1]


def _key(file: bytes) -> tuple[int, bytes]:
    number = _NUMBER.match(file)
    value = 0
    if number is not None:
        found = decimal(number[2])
        value = _LARGEST if found is None else found
    name = _upto_colon(file) or file + b"\0"
    return -value if number is not None and number[1] == b"-" else value, name.translate(_SIGNED)
