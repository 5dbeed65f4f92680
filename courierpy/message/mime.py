"""The tree of MIME parts, by offsets into the message.  RFC 2045, RFC 2046.

One pass over the delimiter lines with a stack of open multiparts; no part is
copied and depth costs no Python calls.
"""
from __future__ import annotations

import re

from courierpy.message import headers
from courierpy.message.decode import extended

MAX_PARTS = 10_000
MAX_DEPTH = 400
_TOKEN = re.compile(rb"[^\s()<>@,;:\\\"/\[\]?=]+")
_PARAM = re.compile(rb"""\s*;?\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)""", re.S)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)")
_ESCAPE = re.compile(rb"\\(.)", re.S)
_DELIMITER = re.compile(rb"(?:^|(?<=\n))--([^\r\n]*)(\r?\n|\Z)")


class Part:
    """``start``: its header; ``body``..``stop``: its content.  Offsets."""

    __slots__ = ("body", "boundary", "children", "fields", "index", "kind", "params", "parent",
                 "start", "stop", "subkind")

    def __init__(self, data: bytes, start: int, stop: int, parent: Part | None, default: bytes) -> None:
        self.start = start
        self.stop = stop
        self.parent = parent
        self.children: list[Part] = []
        self.body = headers.header_end(data, start, stop)
        self.fields = headers.fields(data, start, self.body)
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
    while match := _PARAM.match(text, at):
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
    charset, octets = "", b""
    for number, encoded, value in sorted(pieces, key=lambda piece: piece[0]):
        if encoded and not number:
            charset, value = extended(value)
        elif encoded:
            value = extended(b"''" + value)[1]
        octets += value
    if charset and charset.lower() not in ("utf-8", "us-ascii"):
        try:
            return octets.decode(charset, "replace").encode()
        except (LookupError, ValueError):
            pass
    return octets


def parse(data: bytes) -> Part:
    """The root of the tree."""
    root = Part(data, 0, len(data), None, b"text/plain")
    parts = [0]
    todo = [(root, 0)]
    while todo:
        part, depth = todo.pop()
        if depth >= MAX_DEPTH or parts[0] >= MAX_PARTS:
            continue
        if part.kind == b"multipart" and part.boundary:
            default = b"message/rfc822" if part.subkind == b"digest" else b"text/plain"
            for start, stop in _split(data, part, MAX_PARTS - parts[0]):
                part.children.append(Part(data, start, stop, part, default))
        elif part.kind == b"message" and part.subkind in (b"rfc822", b"global"):
            if part.encoding not in (b"base64", b"quoted-printable"):
                part.children.append(Part(data, part.body, part.stop, part, b"text/plain"))
        parts[0] += len(part.children)
        todo.extend((child, depth + 1) for child in reversed(part.children))
    return root


def _split(data: bytes, part: Part, limit: int) -> list[tuple[int, int]]:
    """Offsets of the parts between the delimiter lines of one multipart."""
    delimiter = re.compile(rb"(?:\A|\r?\n|(?<=\n))--" + re.escape(part.boundary)
                           + rb"(--)?[ \t]*(?:\r?\n|\Z|(?=\r?\n))|"
                           rb"(?:\A|\r?\n)--" + re.escape(part.boundary) + rb"(--)[^\n]*")
    spans = []
    start = -1
    at = part.body
    while at <= part.stop:
        match = delimiter.search(data, at, part.stop)
        if match is None:
            break
        if match.start() > part.body or data.startswith(b"--", match.start()) or match.start() == part.body:
            if start >= 0:
                spans.append((start, max(start, match.start())))
                if len(spans) >= limit:
                    return spans
            if match[1] or match[2]:
                return spans
            start = match.end()
        # the line end behind a delimiter may begin the next delimiter
        at = max(match.end() - 1, match.start() + 1)
        if data[at:at + 1] != b"\n":
            at = match.end()
    if start >= 0:
        spans.append((start, part.stop))
    return spans
