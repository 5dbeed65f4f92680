"""How the messages of a mailbox hang together in threads, as it was found last: a file for each algorithm.

It holds for just these UIDs and these rules, as what it follows from never changes.  It is checked as a
whole by its checksum; what is not as it was written is found anew.
"""
from __future__ import annotations

import struct
from array import array
from zlib import crc32

from courierpy.maildir.index.columns import THREADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from courierpy.maildir.index.columns import Index

FEWEST = 256                       # messages from which on it is worth a file
_HEAD = struct.Struct("=20sIII20sI")   # magic, order of octets, UIDVALIDITY, messages, rules, checksum
_MAGIC = b"courierpy threads 1\n"
_ORDER = 0x01020304
_PIECE = 1 << 16                   # octets of the text that are told at once


class Shape:
    """The threads of a mailbox.

    ``form``: the threads as THREAD tells them, ``%d`` for each message.  ``rows``: which message that is,
    as its place among the UIDs."""

    __slots__ = ("form", "rows")

    def __init__(self, form: bytes, rows: array[int]) -> None:
        self.form = form
        self.rows = rows

    def told(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """The text, in pieces.  ``numbers``: of the messages, by their places."""
        start = at = 0
        while start < len(self.form):
            stop = self.form.find(b"%", start + _PIECE)
            piece = self.form[start:stop if stop >= 0 else len(self.form)]
            some = self.rows[at:at + piece.count(b"%")]
            yield piece % tuple(map(numbers.__getitem__, some))
            start, at = start + len(piece), at + len(some)


def read(index: Index, name: str, uidvalidity: int, uids: array[int]) -> Shape | None:
    """The threads of these messages by the algorithm of that name; None where they are not kept."""
    if len(uids) < FEWEST:
        return None
    try:
        with open(index.open(THREADS + name), "rb", buffering=0) as file:
            data = file.readall()
    except OSError:
        return None
    count = len(uids)
    if len(data) < _HEAD.size + 8 * count:
        return None
    magic, order, validity, kept, rules, check = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size:]
    if (magic, order, validity, kept, rules) != (_MAGIC, _ORDER, uidvalidity, count, index.rules) \
            or body[:4 * count] != memoryview(uids).cast("B") or crc32(body) != check:
        return None
    rows = array("I")
    rows.frombytes(body[4 * count:8 * count])
    form = bytes(body[8 * count:])
    # whoever wrote it: a number for each message, and nothing else that a text can be made of
    sound = (max(rows) < count and not form.translate(None, b"(%d )")
             and form.count(b"%d") == form.count(b"%") == form.count(b"d") == count)
    return Shape(form, rows) if sound else None


def write(index: Index, name: str, uidvalidity: int, uids: array[int], shape: Shape) -> None:
    """May fail in silence: they are found again then."""
    if len(uids) >= FEWEST:
        body = b"".join((uids.tobytes(), shape.rows.tobytes(), shape.form))
        index.replace(THREADS + name, (_HEAD.pack(_MAGIC, _ORDER, uidvalidity, len(uids), index.rules,
                                                  crc32(body)), body))
