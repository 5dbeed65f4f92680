"""The octets of messages as POP3 sends them, by UID: what courierpop3dsizelist does not say.

That file has Courier's count, which is wrong for a message with CRs of its own, or without a last line feed.
Here is what RETR sends, so that LIST says the same.  Derived, and checked as a whole by its checksum.
"""
from __future__ import annotations

import struct
from array import array
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.maildir.index.columns import Index

FILE = "pop3sizes"
_HEAD = struct.Struct("=16sIII")   # magic, UIDVALIDITY, messages, checksum of the columns
_MAGIC = b"courierpy pop3 1"
_ROW_OCTETS = 4 + 8 + 8


# of one message: octets that RETR sends, before dots are doubled; octets as Courier counts them, twice, and
# one more where the header has octets above 127
Size = tuple[int, int]


def size(sent: int, octets: int, utf8: bool) -> Size:
    return sent, octets << 1 | utf8


def read(index: Index, uidvalidity: int) -> dict[int, Size]:
    """By UID; nothing where the file is not whole, or of other UIDs."""
    try:
        with open(index.open(FILE), "rb", buffering=0) as file:
            data = file.readall()
    except OSError:
        return {}
    if len(data) < _HEAD.size:
        return {}
    magic, validity, count, check = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size:]
    if magic != _MAGIC or validity != uidvalidity or len(body) != count * _ROW_OCTETS or crc32(body) != check:
        return {}
    uids, sent, octets = array("I"), array("Q"), array("Q")
    uids.frombytes(body[:4 * count])
    sent.frombytes(body[4 * count:12 * count])
    octets.frombytes(body[12 * count:])
    return dict(zip(uids, zip(sent, octets, strict=True), strict=True))


def write(index: Index, uidvalidity: int, sizes: Mapping[int, Size]) -> None:
    """May fail in silence: they are counted again then."""
    body = b"".join((array("I", sizes).tobytes(), array("Q", [row[0] for row in sizes.values()]).tobytes(),
                     array("Q", [row[1] for row in sizes.values()]).tobytes()))
    index.replace(FILE, (_HEAD.pack(_MAGIC, uidvalidity, len(sizes), crc32(body)), body))
