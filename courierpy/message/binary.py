"""The content of a part without its transfer encoding, exactly, and messages that hold any octets.  RFC 3516.

``Decoded`` gives a part's octets piece by piece: a large one is gone over once to be judged and counted, and
where it was is remembered here and there, so that each piece that a client asks for costs the piece.  What is
not encoded by the rules is not guessed at.  ``storable`` is the other way round: what is no text becomes one.
"""
from __future__ import annotations

import copy
import re
from binascii import b2a_base64
from bisect import bisect_right

from courierpy.message import headers
from courierpy.message.transfer import Base64Decoder, QuotedPrintableDecoder
from courierpy.message.wire import PIECE_OCTETS, Extent, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.mime import Part
    from courierpy.message.source import Octets

IDENTITY = (b"7bit", b"8bit", b"binary")
MARK_OCTETS = 1 << 18                  # of the wire between two places that are remembered
LINE = 57                              # octets of a line of base64
_BLANKS = b"\r\n\t "
_PADDED = re.compile(rb"([A-Za-z0-9+/]*)(={0,2})")
_NO_HEX = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n)")
_SOFT_END = re.compile(rb"=[ \t]*\Z")
_OPEN = re.compile(rb"=[0-9A-Fa-f \t\r]{0,80}\Z")
# what a text part cannot hold: a NUL, and line ends that are none
_NO_TEXT = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")


class UnknownEncoding(Exception):
    """A content that cannot be decoded for certain."""


class _Base64Rules:
    """RFC 2045 6.8; padding may be missing at the end, where nothing is lost by it."""

    def __init__(self) -> None:
        self._letters = 0
        self._padding = 0

    def follow(self, octets: bytes, final: bool) -> bool:
        octets = octets.translate(None, _BLANKS)
        match = _PADDED.fullmatch(octets) if not self._padding else re.fullmatch(rb"()(=?)", octets)
        if match is None or self._padding and len(match[2]) + self._padding > 2:
            return False
        self._letters += len(match[1])
        self._padding += len(match[2])
        if not final:
            return True
        odd = self._letters % 4
        return odd != 1 and (not self._padding or odd + self._padding == 4)


class _QuotedPrintableRules:
    """RFC 2045 6.7."""

    def __init__(self) -> None:
        self._held = b""

    def follow(self, octets: bytes, final: bool) -> bool:
        octets, self._held = self._held + octets, b""
        if not final:
            at = _OPEN.search(octets, max(0, len(octets) - 82))
            if at is not None:
                octets, self._held = octets[:at.start()], octets[at.start():]
        else:
            octets = _SOFT_END.sub(b"", octets)
        return _NO_HEX.search(octets) is None


class Decoded:
    """The octets of a part.  ``nul``: is there one that only a literal8 may hold?"""

    octets8 = True                     # told as they are

    def __init__(self, data: Octets, start: int, stop: int, encoding: bytes) -> None:
        """Of what stands there.  Raises UnknownEncoding."""
        self._source = Extent(Wire(data), start, stop)
        self._encoding = encoding
        self.nul = False
        self.size = 0
        # octets of the wire and octets told before a place, and the decoder there
        self._marks: list[tuple[int, int, Base64Decoder | QuotedPrintableDecoder]] = []
        self._measure()

    def _measure(self) -> None:
        if self._encoding in IDENTITY:
            self.size = len(self._source)
            self.nul = any(b"\0" in piece for piece in self._source)
            return
        if self._encoding == b"base64":
            rules: _Base64Rules | _QuotedPrintableRules = _Base64Rules()
            decoder: Base64Decoder | QuotedPrintableDecoder = Base64Decoder()
        elif self._encoding == b"quoted-printable":
            rules, decoder = _QuotedPrintableRules(), QuotedPrintableDecoder()
        else:
            raise UnknownEncoding
        wire, marked = 0, -MARK_OCTETS
        for piece in self._source:
            if wire - marked >= MARK_OCTETS:
                self._marks.append((wire, self.size, copy.copy(decoder)))
                marked = wire
            if not rules.follow(piece, False):
                raise UnknownEncoding
            self._count(decoder.decode(piece))
            wire += len(piece)
        if not rules.follow(b"", True):
            raise UnknownEncoding
        self._count(decoder.decode(b"", True))

    def _count(self, octets: bytes) -> None:
        self.size += len(octets)
        self.nul = self.nul or b"\0" in octets

    def cut(self, skip: int, count: int | None) -> Cut:
        """``count`` octets from ``skip`` on, or all that are there."""
        left = max(0, self.size - skip)
        return Cut(self, skip, left if count is None else min(count, left))

    def octets(self, skip: int, count: int) -> Iterator[bytes]:
        """``count`` octets from ``skip`` on, which must be there."""
        if not count:
            return
        if not self._marks:
            yield from self._source.cut(skip, count)
            return
        wire, told, decoder = self._marks[bisect_right(self._marks, skip, key=lambda mark: mark[1]) - 1]
        decoder = copy.copy(decoder)
        skip -= told
        for piece in self._coming(wire, decoder):
            if skip < len(piece):
                some = piece[skip:skip + count]
                count -= len(some)
                yield some
                if not count:
                    return
            skip = max(0, skip - len(piece))

    def _coming(self, wire: int, decoder: Base64Decoder | QuotedPrintableDecoder) -> Iterator[bytes]:
        for piece in self._source.cut(wire, len(self._source) - wire):
            yield decoder.decode(piece)
        yield decoder.decode(b"", True)


class Cut:
    """Some octets of a part.  It has a len(), and gives as many, piece by piece."""

    octets8 = True
    __slots__ = ("_count", "_skip", "_whole")

    def __init__(self, whole: Decoded, skip: int, count: int) -> None:
        self._whole = whole
        self._skip = skip
        self._count = count

    def cut(self, skip: int, count: int | None) -> Cut:
        """``count`` of these octets from ``skip`` on, or all that are there."""
        left = max(0, self._count - skip)
        return Cut(self._whole, self._skip + skip, left if count is None else min(count, left))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return self._whole.octets(self._skip, self._count)

    @property
    def nul(self) -> bool:
        """May there be one among them?"""
        return self._whole.nul


# -- what comes in

def storable(data: Octets, root: Part) -> Iterator[bytes] | None:
    """A message with the octets ``data``, whose lines end in CRLF, in which parts that are no text are in
    base64; None where there are none.  RFC 3516 4.4."""
    changed = {part.start for part in root.walk() if not part.children and _is_no_text(data, part)}
    return _converted(data, root, changed) if changed else None


def _is_no_text(data: Octets, part: Part) -> bool:
    before = b""
    for at in range(part.body, part.stop, PIECE_OCTETS):
        piece = before + data[at:min(at + PIECE_OCTETS, part.stop)]
        before = b"\r" if piece.endswith(b"\r") and at + PIECE_OCTETS < part.stop else b""
        if _NO_TEXT.search(piece, 0, len(piece) - len(before)):
            return part.encoding in IDENTITY
    return False


def _converted(data: Octets, root: Part, changed: set[int]) -> Iterator[bytes]:
    at = 0
    for part in root.walk():
        if part.start not in changed and not (part.children and part.encoding == b"binary"):
            continue
        if at < part.start:
            yield from _pieces(data, at, part.start)
        # what holds others is no longer binary
        yield _header(data, part, b"base64" if part.start in changed and not part.children else b"8bit")
        at = part.body
        if part.start in changed and not part.children:
            yield from _in_base64(data, part.body, part.stop, at_end=part.stop == len(data))
            at = part.stop
    yield from _pieces(data, at, len(data))


def _pieces(data: Octets, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, PIECE_OCTETS):
        yield data[at:min(at + PIECE_OCTETS, stop)]


def _header(data: Octets, part: Part, encoding: bytes) -> bytes:
    """The header of a part that has another encoding now."""
    ours = {b"content-transfer-encoding"}
    lines = headers.raw_fields(data[part.start:part.body], 0, part.body - part.start, frozenset(ours), True)
    if not part.inner and not headers.values(part.block, b"mime-version"):
        lines += b"MIME-Version: 1.0\r\n"
    return lines + b"Content-Transfer-Encoding: %s\r\n\r\n" % encoding


def _in_base64(data: Octets, start: int, stop: int, at_end: bool) -> Iterator[bytes]:
    step = LINE * (PIECE_OCTETS // LINE)
    for at in range(start, stop, step):
        piece = data[at:min(at + step, stop)]
        lines = [b2a_base64(piece[first:first + LINE], newline=False) for first in range(0, len(piece), LINE)]
        yield b"\r\n".join(lines) + (b"\r\n" if at_end or at + step < stop else b"")
