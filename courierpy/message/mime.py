"""The tree of MIME parts, by offsets into the message.  RFC 2045, RFC 2046.

One pass over the lines that begin with ``--``, with the path of open parts: a
line that is the delimiter of one of them ends all that is open inside it.  No
part is copied, and depth costs no Python calls.  What is beyond the limits is
not looked into; it stays what it is, the bytes of the part that holds it.
"""
from __future__ import annotations

import re

from courierpy.message import headers
from courierpy.message.decode import extended

_TOKEN = re.compile(rb"[^\s()<>@,;:\\\"/\[\]?=]+")
_PARAM = re.compile(rb"""[\s;]*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)""", re.S)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)")
_ESCAPE = re.compile(rb"\\(.)", re.S)
_DASHES = re.compile(rb"^--([^\r\n]*)\r?\n?", re.M)


class Limits:
    """``parts`` and ``depth`` of the tree, ``header``: octets of one header block
    that are looked into."""

    __slots__ = ("depth", "header", "parts")

    def __init__(self, parts: int = 10_000, depth: int = 1000, header: int = 1 << 20) -> None:
        self.parts = parts
        self.depth = depth
        self.header = header


DEFAULT = Limits()


class Part:
    """``start``: its header; ``body``..``stop``: its content.  Offsets."""

    __slots__ = ("body", "boundary", "children", "fields", "kind", "params", "parent",
                 "start", "stop", "subkind")

    def __init__(self, data: bytes, start: int, body: int, parent: Part | None, default: bytes,
                 limit: int) -> None:
        self.start = start
        self.body = self.stop = body
        self.parent = parent
        self.children: list[Part] = []
        self.fields = headers.fields(data, start, min(body, start + limit))
        self._content_type(default)

    def _content_type(self, default: bytes) -> None:
        value = self.field(b"content-type")
        text = value if value is not None else default
        kind, slash, rest = text.partition(b"/")
        subkind = _TOKEN.match(rest.lstrip())
        if not slash or subkind is None or not _TOKEN.fullmatch(kind.strip()):
            self.kind, self.subkind = b"text", b"plain"
            self.params = [] if value is not None else [(b"charset", b"us-ascii")]
        else:
            self.kind, self.subkind = kind.strip().lower(), subkind[0].lower()
            self.params = parameters(rest[subkind.end() + len(rest) - len(rest.lstrip()):])
            if value is None and self.kind == b"text":
                self.params = [(b"charset", b"us-ascii")]
        self.boundary = next((value for name, value in self.params if name == b"boundary"), b"")
        self.boundary = self.boundary.rstrip()

    def field(self, name: bytes) -> bytes | None:
        """The first field of this (lower-case) name."""
        for own, value in self.fields:
            if own.lower() == name:
                return value
        return None

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
        value = self.field(b"content-transfer-encoding") or b""
        match = _TOKEN.search(_COMMENT.sub(b"", value))
        return match[0].lower() if match else b"7bit"


def parameters(text: bytes) -> list[tuple[bytes, bytes]]:
    """``; name=value`` pairs, names in lower case; RFC 2231 pieces joined and decoded to UTF-8."""
    plain: list[tuple[bytes, bytes]] = []
    pieces: dict[bytes, list[tuple[int, bool, bytes]]] = {}
    at = 0
    while at < len(text):
        match = _PARAM.match(text, at)
        if match is None:
            at = text.find(b";", at) + 1 or len(text)      # a word without a value is passed over
            continue
        at = match.end()
        name, value = match[1].lower(), match[2]
        if value.startswith(b'"'):
            value = _ESCAPE.sub(rb"\1", value[1:-1] if len(value) > 1 and value.endswith(b'"')
                                else value[1:])
        else:
            value = _COMMENT.sub(b"", value).strip()
        star = re.fullmatch(rb"([^*]+)(?:\*(\d{1,4}))?(\*?)", name)
        if star and (star[2] or star[3]):
            if star[1] not in pieces:
                plain.append((star[1], b""))
            pieces.setdefault(star[1], []).append((int(star[2] or 0), bool(star[3]), value))
        else:
            plain.append((name, value))
    return [(name, _join(pieces[name]) if name in pieces else value) for name, value in plain]


def _join(pieces: list[tuple[int, bool, bytes]]) -> bytes:
    charset = ""
    octets = []
    for number, encoded, value in sorted(pieces, key=lambda piece: piece[0]):
        if encoded and not number:
            charset, value = extended(value)
        elif encoded:
            value = extended(b"''" + value)[1]
        octets.append(value)
    joined = b"".join(octets)
    if charset and charset.lower() not in ("utf-8", "us-ascii"):
        try:
            return joined.decode(charset, "replace").encode()
        except (LookupError, ValueError):
            pass
    return joined


def parse(data: bytes, limits: Limits = DEFAULT) -> Part:
    """The root of the tree."""
    return _Parser(data, limits).run()


class _Parser:
    """``path``: the open parts, the root first; ``open``: boundary -> places in the
    path of the multiparts that it divides, of which the innermost counts."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.path: list[Part] = []
        self.open: dict[bytes, list[int]] = {}
        self.count = 0
        self.blank = (0, -1, -1)       # looked for from where, found where

    def run(self) -> Part:
        data = self.data
        self._begin(0, b"text/plain", None)
        root = self.path[0]
        for match in _DASHES.finditer(data):
            if not self.open:
                break
            found = self._whose(match[1].rstrip(b" \t"))
            if found is None:
                continue
            at, closes = found
            if match.start() < self.path[at].body:
                continue               # inside the very header that names the boundary
            if not closes and self.count >= self.limits.parts:
                break                  # the part that is open now holds the rest
            self._end(at + 1, match.start())
            owner = self.path[at]
            if closes:
                self._close(at)        # what follows is the epilogue
            else:
                self._begin(match.end(), b"message/rfc822" if owner.subkind == b"digest"
                            else b"text/plain", owner)
        self._end(0, len(data), last=True)
        return root

    def _whose(self, line: bytes) -> tuple[int, bool] | None:
        """(place of the multipart that this line delimits, does it close it)."""
        if line in self.open:
            return self.open[line][-1], False
        if line.endswith(b"--") and line[:-2] in self.open:
            return self.open[line[:-2]][-1], True
        return None

    def _close(self, at: int) -> None:
        """The multipart at this place has no further parts."""
        boundary = self.path[at].boundary
        places = self.open.get(boundary)
        if places and places[-1] == at:
            places.pop()
            if not places:
                del self.open[boundary]

    def _begin(self, start: int, default: bytes, parent: Part | None) -> None:
        """Open the part at ``start``, and the message in it, and so on."""
        while True:
            part = Part(self.data, start, self._header_end(start), parent, default, self.limits.header)
            self.count += 1
            if parent is not None:
                parent.children.append(part)
            self.path.append(part)
            if len(self.path) >= self.limits.depth:
                return
            if part.kind == b"multipart" and part.boundary:
                self.open.setdefault(part.boundary, []).append(len(self.path) - 1)
                return
            if part.kind != b"message" or part.subkind not in (b"rfc822", b"global") \
                    or part.encoding in (b"base64", b"quoted-printable"):
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
            for match in _DASHES.finditer(data, start, end):
                if self._whose(match[1].rstrip(b" \t")) is not None:
                    return max(start, self._line_end(match.start()))
        return end

    def _forget(self, first: int) -> None:
        """Take the parts from ``first`` on off the path."""
        for at in range(len(self.path) - 1, first - 1, -1):
            self._close(at)
        del self.path[first:]

    def _end(self, first: int, stop: int, last: bool = False) -> None:
        """Close the parts from ``first`` on; the line end before a delimiter belongs to
        it, unless it is the empty line that ends a header."""
        if not last:
            stop = self._line_end(stop)
        if first < len(self.path):
            stop = max(stop, self.path[-1].body)
        for part in self.path[first:]:
            part.stop = stop
        self._forget(first)

    def _line_end(self, at: int) -> int:
        """Where the line before ``at`` ends, without its CRLF."""
        if self.data[at - 1:at] == b"\n":
            at -= 1
            if self.data[at - 1:at] == b"\r":
                at -= 1
        return at
