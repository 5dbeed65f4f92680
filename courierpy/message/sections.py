"""BODY[...]: which octets of a message a section is.  RFC 9051 6.4.5."""
from __future__ import annotations

import re

from courierpy.message import headers
from courierpy.message.headers import wire_form
from courierpy.message.source import WINDOW_OCTETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.mime import Part
    from courierpy.message.source import Octets
    from courierpy.model.section import Section

_NEXT_FIELD = re.compile(rb"\n(?![ \t])")


def part_of(root: Part, numbers: tuple[int, ...]) -> Part | None:
    """Part n.m: in a message part, the parts of the message in it."""
    inside = root                      # the multipart, or the message, whose parts are numbered
    part: Part | None = None
    for number in numbers:
        if part is not None:
            inside = part.message or part
            if part.message is None and not part.multipart:
                return None
        if inside.multipart:
            if number > len(inside.children):
                return None
            part = inside.children[number - 1]
        elif number == 1:
            part = inside              # a body of one part
        else:
            return None
    return part


def place_in(root: Part, section: Section) -> tuple[int, int] | None:
    """From where to where the section of a part stands; that of HEADER.FIELDS is the header.
    None when there is no such part."""
    part = part_of(root, section.part)
    if part is None:
        return None
    if not section.kind:
        return part.body, part.stop
    if section.kind == b"MIME":
        return part.start if part.inner else 0, part.body
    inner = part.message
    if inner is None:
        return None
    return (inner.body, inner.stop) if section.kind == b"TEXT" else (inner.start, inner.body)


def chosen_fields(data: Octets, start: int, stop: int, section: Section) -> bytes:
    """BODY[HEADER.FIELDS (...)] of a header that is not large.  It ends in an empty line always, as Courier's
    does; RFC 9051 6.4.5.1 has none for a message that has neither one nor a body."""
    lines = headers.raw_fields(data[start:stop], 0, stop - start, _names(section), _negates(section))
    return wire_form(lines) + b"\r\n"


def _names(section: Section) -> frozenset[bytes]:
    return frozenset([name.lower() for name in section.fields])


def _negates(section: Section) -> bool:
    return section.kind.endswith(b"NOT")


class Fields:
    """BODY[HEADER.FIELDS (...)] of a header that is too large to be held: it is gone over
    once for the length and again for the octets.  Used as an Extent is."""

    __slots__ = ("_count", "_data", "_section", "_skip", "_start", "_stop")

    def __init__(self, data: Octets, start: int, stop: int, section: Section, skip: int = 0,
                 count: int | None = None) -> None:
        self._data = data
        self._start = start
        self._stop = stop
        self._section = section
        self._skip = skip
        self._count = count

    def cut(self, skip: int, count: int | None) -> Fields:
        size = max(0, len(self) - skip)
        return Fields(self._data, self._start, self._stop, self._section, skip,
                      size if count is None else min(size, count))

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(map(len, self._wire()))
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        skip, left = self._skip, len(self)
        for data in self._wire():
            if skip < len(data):
                piece = data[skip:skip + left]
                left -= len(piece)
                if piece:
                    yield piece
                if not left:
                    return
            skip = max(0, skip - len(data))

    def _wire(self) -> Iterator[bytes]:
        last = b""
        for lines in self._lines():
            data = wire_form(lines)
            yield data[1:] if last == b"\r" and lines.startswith(b"\n") else data
            last = lines[-1:]
        # the last field has a line end, and an empty line follows
        yield b"\r\n" if last in (b"\n", b"") else b"\n\r\n" if last == b"\r" else b"\r\n\r\n"

    def _lines(self) -> Iterator[bytes]:
        """The fields as they stand, several or a part of one at a time."""
        names, negates = _names(self._section), _negates(self._section)
        at = self._start
        taken: bool | None = None      # of a field that we are in the middle of
        while at < self._stop:
            block = self._data[at:min(at + WINDOW_OCTETS, self._stop)]
            last = at + len(block) == self._stop
            if not last and block.endswith(b"\n"):
                block = block[:-1]     # whether it ends a field is told by what follows
            end = len(block)
            if taken is not None:
                match = _NEXT_FIELD.search(block)
                if match is not None:
                    end = match.end()
                if taken:
                    yield block[:end]
                if match is not None:
                    taken = None
            elif last or (end := _last_field(block)):
                lines = headers.raw_fields(block[:end], 0, end, names, negates)
                if lines:
                    yield lines
            else:
                end = len(block)
                name, colon, _ = block.partition(b":")
                taken = (bool(colon) and name.rstrip(b" \t").lower() in names) != negates
                if taken:
                    yield block
            at += end


def _last_field(block: bytes) -> int:
    """Where the last field in it begins; 0 when that is the first one."""
    at = block.rfind(b"\n")
    while at >= 0 and block[at + 1:at + 2] in (b" ", b"\t", b""):
        at = block.rfind(b"\n", 0, at)
    return at + 1
