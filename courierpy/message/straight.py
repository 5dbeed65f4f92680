"""BODYSTRUCTURE of a usual message straight from its octets, without a tree of its parts.  RFC 9051 7.5.2.

Usual is one whose lines end in LF, where each header ends and each multipart is closed, of few parts.  What
is told is what ``rendered`` tells of the tree that ``mime`` finds, which is for all others.  The headers of
most texts are those of other texts: how these are told is kept.
"""
from __future__ import annotations

from functools import lru_cache

from courierpy.message import rendered
from courierpy.message.headers import CR, told
from courierpy.message.mime import ENCODED, content_type, encoding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.message.mime import Limits

PARTS, NESTED = 16, 8              # of a multipart, and how many parts may be inside each other
SHARED_OCTETS = 128                # of a header that is likely to come again
UNUSUAL, TEXT, OTHER, MESSAGE, MULTIPART = range(5)


def structure(data: bytes, limits: Limits, extended: bool, utf8: bool) -> bytes | None:
    """BODYSTRUCTURE, or BODY when not ``extended``; None where it is no usual message, or some limit may
    count."""
    if CR in data or 2 * len(data) > limits.header or limits.depth <= NESTED:
        return None
    return _Usual(extended, utf8, limits.parts).part(b"\n" + data, NESTED)


class _Usual:
    """A message, or some part of it, is had with the end of the line before it.  ``room``: parts that may
    come yet."""

    __slots__ = ("extended", "room", "utf8")

    def __init__(self, extended: bool, utf8: bool, room: int) -> None:
        self.extended = extended
        self.utf8 = utf8
        self.room = room

    def part(self, part: bytes, deeper: int) -> bytes | None:
        """``deeper``: parts that may be inside each other."""
        end = part.find(b"\n\n")
        if end < 0 or not deeper:
            return None
        block = part[:end + 2]
        kind, boundary, head, tail = (_shared if len(block) <= SHARED_OCTETS else _said)(
            block, self.extended, self.utf8)
        if kind == MULTIPART:
            return self._parts(part[end + 1:], boundary, tail, deeper - 1)
        if kind == UNUSUAL:
            return None
        lines = part.count(b"\n", end + 2)
        size = len(part) - end - 2 + lines     # as each of them ends in CRLF
        if kind == MESSAGE:
            return self._message(part[end + 1:], b"%s%d" % (head, size), b" %d%s" % (lines, tail), deeper - 1)
        return b"%s%d %d%s" % (head, size, lines, tail) if kind == TEXT else b"%s%d%s" % (head, size, tail)

    def _parts(self, body: bytes, boundary: bytes, tail: bytes, deeper: int) -> bytes | None:
        """The structure of a multipart's parts; None where that is not straight."""
        _, *parts = body.split(b"\n--" + boundary, PARTS + 1)
        self.room -= len(parts)
        if len(parts) < 2 or self.room <= 0 or parts.pop()[:3] not in (b"--\n", b"--"):
            return None                # not closed, or too many
        pieces = [b"("]
        for part in parts:
            # else it was closed before, or it is another boundary, or has blanks behind it
            one = self.part(part, deeper) if part.startswith(b"\n") else None
            if one is None:
                return None
            pieces.append(one)
        pieces.append(tail)
        return b"".join(pieces)

    def _message(self, message: bytes, head: bytes, tail: bytes, deeper: int) -> bytes | None:
        """One that is in another one."""
        self.room -= 1
        inner = self.part(message, deeper) if self.room > 0 else None
        if inner is None:
            return None
        envelope = rendered.envelope(told(message[:message.find(b"\n\n") + 2]), self.utf8)
        return b"%s %s %s%s" % (head, envelope, inner, tail)


def _said(block: bytes, extended: bool, utf8: bool) -> tuple[int, bytes, bytes, bytes]:
    """What a header says of its part: (of which kind it is, boundary, what is told before its size, and
    behind its lines or parts)."""
    fields = told(block, of_part=True)
    kind, subkind, params, boundary = content_type(fields.get(b"content-type"), b"text/plain")
    if boundary and subkind != b"digest":      # whose parts are messages
        return MULTIPART, boundary, b"", rendered.multipart(subkind, params, fields, extended, utf8)
    which = TEXT if kind == b"text" else OTHER
    if kind == b"multipart":
        which = UNUSUAL
    elif kind == b"message" and subkind in (b"rfc822", b"global"):
        which = UNUSUAL if encoding(fields.get(b"content-transfer-encoding", b"")) in ENCODED else MESSAGE
    return which, b"", *rendered.leaf(kind, subkind, params, fields, extended, utf8)


_shared = lru_cache(128)(_said)
