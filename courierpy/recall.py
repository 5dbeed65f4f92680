"""What is told of many messages at once: from the cache, else from their files, and then
it is in the cache.

A kind of value is a row of the table: how much of a message it needs, and how it
follows from that.  All values are bytes; numbers are eight octets.
"""
from __future__ import annotations

import struct
from array import array

from courierpy.maildir.cache import column_of
from courierpy.maildir.errors import Vanished
from courierpy.message import Message, folded
from courierpy.message.collation import key as collation_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.kinds import Section
    from courierpy.maildir.cache import Column
    from courierpy.maildir.folder import Folder
    from courierpy.message.mime import Limits

HEADER, WHOLE = True, False        # how much of a message is needed
FEW = 16                           # messages for which a large column is not loaded
NO_DATE = -(1 << 62)               # of a message without a Date
NUL = b"\0"

_INT = struct.Struct("=q").pack
_FLOAT = struct.Struct("=d").pack


def _text(value: str | None) -> bytes:
    """A folded text; b"" for one that is not there, which an empty one is not."""
    return b"" if value is None else b"\n" + value.encode("utf-8", "surrogatepass") + b"\n"


def _ids(message: Message) -> bytes:
    own, refs = message.thread_ids()
    return NUL.join([own or b"", *refs])


def _subject_key(message: Message) -> bytes:
    key, reply = message.base_subject()
    return (b"R" if reply else b" ") + key.encode("utf-8", "surrogatepass")


def _mailbox(field: bytes) -> Callable[[Message], bytes]:
    return lambda message: collation_key(message.first_mailbox(field)).encode("utf-8", "surrogatepass")


def _folded(field: bytes) -> Callable[[Message], bytes]:
    return lambda message: _text(message.folded_header(field))


KINDS: dict[str, tuple[bool, Callable[[Message], bytes]]] = {
    "size": (WHOLE, lambda message: _INT(message.size)),
    "envelope": (HEADER, lambda message: message.envelope_bytes()),
    "envelope-utf8": (HEADER, lambda message: message.envelope_bytes(True)),
    "structure": (WHOLE, lambda message: message.structure_bytes(True)),
    "structure-utf8": (WHOLE, lambda message: message.structure_bytes(True, True)),
    "sent": (HEADER, lambda message: _FLOAT(NO_DATE if (sent := message.sent_time()) is None else sent)),
    "day": (HEADER, lambda message: _INT(message.sent_day() or 0)),
    "subject": (HEADER, _subject_key), "ids": (HEADER, _ids),
    "from": (HEADER, _mailbox(b"from")), "to": (HEADER, _mailbox(b"to")), "cc": (HEADER, _mailbox(b"cc")),
    "find-from": (HEADER, _folded(b"from")), "find-to": (HEADER, _folded(b"to")),
    "find-cc": (HEADER, _folded(b"cc")), "find-bcc": (HEADER, _folded(b"bcc")),
    "find-subject": (HEADER, _folded(b"subject")),
    "find-header": (HEADER, lambda message: _text(folded.lines(message.block))),
    "find-body": (WHOLE, lambda message: _text(message.folded_body())),
    "find-inner": (WHOLE, lambda message: _text(folded.inner_lines(message.root))),
}
DATE = "date"                      # INTERNALDATE in seconds: of the file, not of the message
# what costs little more when the first is computed
ALONG = {"structure": ("size", "envelope"), "find-body": ("find-header", "find-inner")}


class Recall:
    """Of one selected folder.  ``lost``: UIDs of messages that could not be read any more."""

    def __init__(self, folder: Folder, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.lost: set[int] = set()
        self._sections: dict[str, Section] = {}

    def fields(self, section: Section) -> str:
        """The kind of BODY[HEADER.FIELDS (...)], a section of the whole message."""
        names = NUL.join([section.kind, *sorted(name.upper() for name in section.fields)])
        text = names.replace(NUL, b".").decode("latin-1")
        if len(text) > 150 or not text.replace(".", "").replace("-", "").isalnum() or not text.isascii():
            from hashlib import sha256
            text = sha256(names).hexdigest()
        kind = f"fields.{text}"
        self._sections[kind] = section
        return kind

    def values(self, kind: str, uids: Sequence[int]) -> list[bytes | None]:
        """In the order of ``uids``; None for a message that vanished."""
        return self.take([kind], uids)[0]

    def take(self, kinds: Sequence[str], uids: Sequence[int],
             known: bool = True) -> list[list[bytes | None]]:
        """Values of several kinds; a file that is needed is read once.  ``known``: False where
        nothing of it is in the cache."""
        cache = self.folder.cache
        wanted = uids if isinstance(uids, array) else array("I", uids)
        few = len(wanted) <= FEW
        found: list[list[bytes | None]] = [
            [None] * len(wanted) if not known or few and cache.is_large(kind) else cache.values(kind, wanted)
            for kind in kinds]
        if any(None in values for values in found):
            for at, uid in enumerate(wanted):
                missing = [row for row, values in enumerate(found) if values[at] is None]
                if missing and uid not in self.lost:
                    self._fill(kinds, found, at, uid, missing)
        return found

    def _fill(self, kinds: Sequence[str], found: list[list[bytes | None]], at: int, uid: int,
              missing: list[int]) -> None:
        """Compute what is missing of one message."""
        cache = self.folder.cache
        names = [kinds[row] for row in missing]
        try:
            if names == [DATE]:
                found[missing[0]][at] = value = _FLOAT(self.folder.stat(uid)[1])
                cache.add(DATE, uid, value)
                return
            header = all(name == DATE or name in self._sections or KINDS[name][0] for name in names)
            data, date, stays = self.folder.contents(uid, header)
        except Vanished:
            self.lost.add(uid)
            return
        message = Message(data, self.limits)
        for row, name in zip(missing, names, strict=True):
            if name == DATE:
                value = _FLOAT(date)
            elif name in self._sections:
                value = message.section(self._sections[name]) or b""
            else:
                value = KINDS[name][1](message)
            found[row][at] = value
            if stays:
                cache.add(name, uid, value)
                for other in ALONG.get(name, ()):
                    if other not in names:
                        cache.add(other, uid, KINDS[other][1](message))

    def numbers(self, kind: str, uids: array[int], typecode: str = "q") -> Sequence[float | None]:
        """The values of a kind that is a number, "q" or "d"."""
        column = self.folder.cache.whole(kind, uids)
        if column is not None:
            return column.numbers(typecode)
        unpack = struct.Struct("=" + typecode).unpack
        return [None if value is None else unpack(value)[0] for value in self.values(kind, uids)]

    def column(self, kind: str, uids: array[int]) -> Column:
        """All values in one run; b"" for a message that vanished."""
        column = self.folder.cache.whole(kind, uids)
        if column is not None:
            return column
        return column_of(uids, [value or b"" for value in self.values(kind, uids)])
