"""The tree of MIME parts, by offsets into the message.  RFC 2045, RFC 2046.

One pass over the lines that begin with ``--``, with the path of open parts: a
line that is the delimiter of one of them ends all that is open inside it.  No
part is copied, and depth costs no Python calls.  What is beyond the limits is
not looked into; it stays what it is, the bytes of the part that holds it.
"""
from __future__ import annotations

import re
from functools import lru_cache

from courierpy.message import headers, parameters
from courierpy.message.transfer import transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.source import Octets
    from courierpy.system.settings import Settings

_LINE = re.compile(rb"--([^\r\n]*)\r?\n?")
HEADERS = 4                        # times the limit of one: octets of all headers that are told
LINE_OCTETS = 1024                 # read at first where a delimiter may stand
USUAL_OCTETS = 60                  # of a Content-Type that is likely to come again
ENCODED = frozenset((b"base64", b"quoted-printable"))      # whose octets are others than those of the message
_ENCODINGS = ENCODED | {b"7bit", b"8bit", b"binary"}
# "8 bit", "7-bit", "quoted printable": what some senders write for one of these
_SPELLED = {name.replace(b"-", b""): name for name in _ENCODINGS}
_BETWEEN = re.compile(rb"[\s_-]+")


class Limits:
    """How far into a message is looked.

    ``parts`` and ``depth`` of the tree, ``header``: octets of one header block
    that are looked into."""

    __slots__ = ("depth", "header", "parts")

    def __init__(self, parts: int = 10_000, depth: int = 1000, header: int = 1 << 20) -> None:
        self.parts = parts
        self.depth = depth
        self.header = header

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        number = settings.number
        return cls(number("IMAP_MIME_PARTS"), number("IMAP_MIME_DEPTH"), number("IMAP_HEADER_BYTES"))


DEFAULT = Limits()


class Part:
    """A part of a message.

    ``start``: its header; ``body``..``stop``: its content.  Offsets into the file's
    bytes.  ``known``: the fields that are told, see ``headers.told``.  ``inner``: it is
    in another part; which, it does not say: a cycle would keep the message's bytes."""

    __slots__ = ("body", "boundary", "children", "data", "inner", "kind", "known", "limit", "params",
                 "start", "stop", "subkind")

    def __init__(self, data: Octets, start: int, body: int, inner: bool, default: bytes,
                 limit: int) -> None:
        self.data = data
        self.start = start
        self.body = self.stop = body
        self.inner = inner
        self.limit = limit
        self.children: list[Part] = []
        self.known = headers.told(self.block)
        self.kind, self.subkind, self.params, self.boundary = content_type(
            self.known.get(b"content-type"), default)

    @property
    def block(self) -> bytes:
        """The header as far as the limits let it be looked into."""
        stop = min(self.body, self.start + self.limit)
        return headers.cut(headers.block(self.data, self.start, stop), self.limit)

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """(name, value) of all fields, each time anew."""
        return headers.fields(self.block)

    def field(self, name: bytes) -> bytes | None:
        """The first field of this (lower-case) name, one of those that are told."""
        return self.known.get(name)

    @property
    def multipart(self) -> bool:
        return self.kind == b"multipart" and bool(self.children)

    @property
    def message(self) -> Part | None:
        """The message inside a message/rfc822 part."""
        if self.kind == b"message" and self.subkind in (b"rfc822", b"global") and self.children:
            return self.children[0]
        return None

    @property
    def encoding(self) -> bytes:
        return encoding(self.known.get(b"content-transfer-encoding", b""))

    @property
    def charset(self) -> str:
        """As it is named, or ""."""
        return parameters.find(self.params, b"charset").decode("ascii", "replace")

    def octets(self) -> bytes:
        """The content, its transfer encoding undone."""
        return transfer(headers.wire_form(self.data[self.body:self.stop]), self.encoding)

    def walk(self) -> Iterator[Part]:
        """This part and all in it, each before what is in it."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))


def content_type(value: bytes | None,
                 default: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]:
    """(type, subtype, parameters, boundary) by this field, or ``default`` where there is none.  The boundary
    is b"" if it is no multipart."""
    said = default if value is None else value
    kind, subkind, params = (_usual_type(said) if len(said) <= USUAL_OCTETS and b"boundary" not in said
                             else parameters.content_type(said))
    if value is None and kind == b"text":
        params = [(b"charset", b"us-ascii")]
    return kind, subkind, params, (
        parameters.find(params, b"boundary").rstrip() if kind == b"multipart" else b"")


def encoding(value: bytes) -> bytes:
    """What a Content-Transfer-Encoding says."""
    lowered = value.lower()
    if lowered in _ENCODINGS:
        return lowered
    return _SPELLED.get(_BETWEEN.sub(b"", lowered)) or parameters.word(value) or b"7bit"


@lru_cache(128)
def _usual_type(said: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """Most parts say what others say too; nobody changes a list of parameters."""
    return parameters.content_type(said)


def parse(data: Octets, limits: Limits = DEFAULT) -> Part:
    """The root of the tree."""
    return _Parser(data, limits).run()


class _Parser:
    """``path``: the open parts, the root first; ``open``: boundary -> places in the
    path of the multiparts that it divides, of which the innermost counts;
    ``needle``: what every delimiter of them begins with."""

    def __init__(self, data: Octets, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.path: list[Part] = []
        self.open: dict[bytes, list[int]] = {}
        self.needle = b""
        self.count = 0
        self.told = 0                  # octets of the fields that are told, of which so many stay in memory
        self.most = HEADERS * limits.header
        self.blank = (0, -1, -1)       # looked for from where, found where

    def run(self) -> Part:
        data = self.data
        self._begin(0, b"text/plain", None)
        root = self.path[0]
        start = root.body - 1          # no delimiter stands in the header of the root
        while self.open:
            start = data.find(self.needle, start)
            if start < 0:
                break
            start += 1
            if isinstance(data, bytes) and (match := _LINE.match(data, start)) is not None:
                line, end = match[1].rstrip(b" \t"), match.end()
            else:
                line, end = self._line(start, len(data))
            found = self._whose(line)
            if found is None:
                continue
            at, closes = found
            if start < self.path[at].body:
                continue               # inside the very header that names the boundary
            if not closes and (self.count >= self.limits.parts or self.told >= self.most):
                break                  # the part that is open now holds the rest
            self._end(at + 1, start)
            owner = self.path[at]
            if closes:
                self._close(at)        # what follows is the epilogue
            else:
                self._begin(end, b"message/rfc822" if owner.subkind == b"digest"
                            else b"text/plain", owner)
            start = end - 1            # the line end of this delimiter may begin the next
        self._end(0, len(data), last=True)
        return root

    def _line(self, start: int, stop: int) -> tuple[bytes, int]:
        """(what follows the two hyphens that stand there, where its line ends)."""
        data, first = self.data, 0
        if not isinstance(data, bytes):        # no delimiter is longer than a header may be
            first, size = start, LINE_OCTETS
            while True:
                data = self.data[start:min(start + size, stop)]
                if b"\n" in data or len(data) < size or size > self.limits.header:
                    break
                size *= 16
            start, stop = 0, len(data)
        match = _LINE.match(data, start, stop)
        return (match[1].rstrip(b" \t"), first + match.end()) if match is not None else (b"", first + start)

    def _whose(self, line: bytes) -> tuple[int, bool] | None:
        """(place of the multipart that this line delimits, does it close it)."""
        if line in self.open:
            return self.open[line][-1], False
        if line.endswith(b"--"):
            # a boundary may have blanks at its end, which may not count
            places = self.open.get(line[:-2].rstrip(b" \t"))
            if places is not None:
                return places[-1], True
        return None

    def _aim(self) -> None:
        """What to look for: all that the open boundaries have in common."""
        length = 0
        if len(self.open) == 1:
            [first] = self.open
            length = len(first)
        elif 1 < len(self.open) <= 8:  # of more, finding it out costs more than it saves
            first, last = min(self.open), max(self.open)
            while first[:length + 1] == last[:length + 1]:
                length += 1
        self.needle = b"\n--" + (first[:length] if length else b"")

    def _close(self, at: int) -> None:
        """The multipart at this place has no further parts."""
        boundary = self.path[at].boundary
        places = self.open.get(boundary)
        if places and places[-1] == at:
            places.pop()
            if not places:
                del self.open[boundary]
                self._aim()

    def _begin(self, start: int, default: bytes, parent: Part | None) -> None:
        """Open the part at ``start``, and the message in it, and so on."""
        while True:
            part = Part(self.data, start, self._header_end(start), parent is not None, default,
                        self.limits.header)
            self.count += 1
            self.told += sum(map(len, part.known.values()))
            if parent is not None:
                parent.children.append(part)
            self.path.append(part)
            if len(self.path) >= self.limits.depth or self.told >= self.most:
                return
            if part.boundary:
                self.open.setdefault(part.boundary, []).append(len(self.path) - 1)
                self._aim()
                return
            if part.kind != b"message" or part.subkind not in (b"rfc822", b"global") \
                    or part.encoding in ENCODED:
                return
            start, default, parent = part.body, b"text/plain", part

    def _header_end(self, start: int) -> int:
        """Behind the empty line, or before the delimiter of an open multipart."""
        data = self.data
        if data.startswith((b"\n", b"\r\n"), start):
            return start + (1 if data[start:start + 1] == b"\n" else 2)
        looked, found, end = self.blank
        if not looked <= start <= found:         # many parts may have the same one ahead
            found, end = headers.blank_line(data, start)
            self.blank = (start, found, end)
        if self.open:
            at = start - 1                       # the delimiter that opened this part ends there
            while (at := data.find(self.needle, at, end)) >= 0:
                at += 1
                if self._whose(self._line(at, end)[0]) is not None:
                    return max(start, self._line_end(at))
        return end

    def _end(self, first: int, stop: int, last: bool = False) -> None:
        """Close the parts from ``first`` on; the line end before a delimiter belongs to
        it, unless it is the empty line that ends a header."""
        if not last:
            stop = self._line_end(stop)
        if first < len(self.path):
            stop = max(stop, self.path[-1].body)
        for at in range(len(self.path) - 1, first - 1, -1):
            part = self.path[at]
            part.stop = stop
            if part.boundary:
                self._close(at)
        del self.path[first:]

    def _line_end(self, at: int) -> int:
        """Where the line before ``at`` ends, without its CRLF."""
        if self.data[at - 1:at] == b"\n":
            at -= 1
            if self.data[at - 1:at] == b"\r":
                at -= 1
        return at
