"""A message by its file's bytes; everything is computed when it is asked for.

The wire form has CRLF line ends: every LF without a CR before it gets one, so
that files with LF and files with CRLF are both served right.
"""
from __future__ import annotations

import re
from datetime import date

from courierpy.kinds import Run, Section
from courierpy.message import address, decode, headers, mime, subject
from courierpy.message.collation import fold, key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.mime import Limits, Part

_BARE_LF = re.compile(rb"(?<!\r)\n")
_DAY = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\.?\s+(\d{2,4})"
                  r"(?:\s+(\d{1,2}):(\d\d)(?::(\d\d))?(?:\s+([+-]\d{4}|[A-Za-z]{1,4}))?)?")
_MONTHS = {name: at for at, name in enumerate(
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
_ZONES = {"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480,
          "pdt": -420}
_EPOCH = date(1970, 1, 1).toordinal()


def wire_form(data: bytes) -> bytes:
    """Line ends as CRLF."""
    count = data.count(b"\n")
    if not count or data.count(b"\r\n") == count:
        return data
    if b"\r" not in data:
        return data.replace(b"\n", b"\r\n")
    return _BARE_LF.sub(b"\r\n", data)


class Message:
    """``data``: the file as it is."""

    def __init__(self, data: bytes, limits: Limits = mime.DEFAULT) -> None:
        self.data = data
        self.limits = limits
        self._body: bytes | None = None
        self._root: Part | None = None
        self._fields: list[tuple[bytes, bytes]] | None = None

    # -- bytes

    @property
    def size(self) -> int:
        """Octets of the wire form, RFC822.SIZE."""
        return len(self.data) + self.data.count(b"\n") - self.data.count(b"\r\n")

    def body(self) -> bytes:
        if self._body is None:
            self._body = wire_form(self.data)
        return self._body

    @property
    def root(self) -> Part:
        if self._root is None:
            self._root = mime.parse(self.body(), self.limits)
        return self._root

    def section(self, section: Section) -> bytes | None:
        """The octets of BODY[section]; None when there is no such part."""
        data = self.body()
        if not section.part:
            if not section.kind:
                return data
            end = headers.header_end(data, 0, len(data))
            return self._of(section, data, 0, end, len(data))
        part = self._find(section.part)
        if part is None:
            return None
        if not section.kind:
            return data[part.body:part.stop]
        if section.kind == b"MIME":
            return data[part.start:part.body] if part.parent is not None else data[:part.body]
        inner = part.message
        if inner is None:
            return None
        return self._of(section, data, inner.start, inner.body, inner.stop)

    @staticmethod
    def _of(section: Section, data: bytes, start: int, body: int, stop: int) -> bytes:
        if section.kind == b"HEADER":
            return data[start:body]
        if section.kind == b"TEXT":
            return data[body:stop]
        wanted = frozenset(name.lower() for name in section.fields)
        lines = headers.raw_fields(data, start, body, wanted, section.kind.endswith(b"NOT"))
        return wire_form(lines) + b"\r\n"

    def _find(self, numbers: tuple[int, ...]) -> Part | None:
        """Part n.m of RFC 9051 6.4.5: in a message part, the parts of the message in it."""
        inside = self.root             # the multipart, or the message, whose parts are numbered
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
                part = inside          # a body of one part
            else:
                return None
        return part

    # -- headers

    def _top_fields(self) -> list[tuple[bytes, bytes]]:
        if self._fields is None:
            end = min(headers.header_end(self.data, 0, len(self.data)), self.limits.header)
            self._fields = headers.fields(self.data, 0, end)
        return self._fields

    def header(self, name: bytes) -> list[bytes]:
        """Values of a field, unfolded, in order."""
        lowered = name.lower()
        return [value for own, value in self._top_fields() if own.lower() == lowered]

    def headers_decoded(self, name: bytes) -> list[str]:
        return [decode.words(value) for value in self.header(name)]

    def first_mailbox(self, name: bytes) -> str:
        """The part before the ``@`` of the first address in a field; "" without one."""
        for value in self.header(name):
            found = address.parse(value)
            return decode.charset_text(found[0][2] or b"", "") if found else ""
        return ""

    def base_subject(self) -> tuple[str, bool]:
        """(collation key of the base subject, is it one of a reply or forward).  RFC 5256 2.1."""
        for value in self.header(b"subject"):
            text, reply = subject.base(decode.words(value))
            return key(text), reply
        return "", False

    def envelope(self, utf8: bool = False) -> tuple[object, ...]:
        """RFC 9051 7.5.2; ``utf8``: 8-bit text stays, else it becomes encoded words."""
        return _envelope(self._top_fields(), utf8)

    def structure(self, extended: bool, utf8: bool = False) -> tuple[object, ...]:
        """BODYSTRUCTURE, or BODY when not ``extended``."""
        return _structure(self.root, self.body(), extended, utf8)

    # -- dates

    def _date(self) -> re.Match[str] | None:
        for value in self.header(b"date"):
            return _DAY.search(value.decode("latin-1"))
        return None

    def sent_day(self) -> int | None:
        """The Date header's own day as an ordinal; None when it has none."""
        return _day(self._date())

    def sent_time(self) -> float | None:
        """The Date header as seconds since 1970 UTC."""
        match = self._date()
        day = _day(match)
        if match is None or day is None:
            return None
        hour, minute, second = (int(match[at] or 0) for at in (4, 5, 6))
        if hour > 23 or minute > 59 or second > 60:
            hour = minute = second = 0             # RFC 5256 2.2
        zone = (match[7] or "+0000").lower()
        offset = _ZONES.get(zone, 0)               # an invalid zone counts as UTC
        if zone[0] in "+-" and int(zone[1:3]) < 24 and int(zone[3:5]) < 60:
            offset = int(zone[1:3]) * 60 + int(zone[3:5])
            offset = -offset if zone[0] == "-" else offset
        return (day - _EPOCH) * 86400.0 + hour * 3600 + minute * 60 + second - offset * 60

    # -- searching

    def header_contains(self, name: bytes, text: str) -> bool:
        """Is ``text`` in some field of this name?  "" asks whether there is one."""
        wanted = fold(text)
        return any(wanted in fold(value) for value in self.headers_decoded(name))

    def body_contains(self, text: str) -> bool:
        wanted = fold(text)
        return not wanted or any(wanted in fold(part) for part in self.text())

    def text_contains(self, text: str) -> bool:
        """In some header of the message or its parts, or in its text?"""
        wanted = fold(text)
        if not wanted or any(wanted in fold(f"{name.decode()}: {decode.words(value)}")
                             for name, value in self._top_fields()):
            return True
        return self.body_contains(text) or any(
            wanted in fold(f"{name.decode()}: {decode.words(value)}")
            for part in self.parts() if part is not self.root for name, value in part.fields)

    def parts(self) -> Iterator[Part]:
        """All parts, each before what is in it."""
        stack = [self.root]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))

    def text(self) -> Iterator[str]:
        """The text parts, decoded; HTML without its tags; headers of inner messages."""
        data = self.body()
        for part in self.parts():
            if part.message is not None:
                yield "\n".join(decode.words(value) for _, value in part.message.fields)
            if part.kind == b"text":
                charset = next((value for name, value in part.params if name == b"charset"), b"")
                octets = decode.transfer(data[part.body:part.stop], part.encoding)
                text = decode.charset_text(octets, charset.decode("ascii", "replace"))
                yield decode.html_text(text) if part.subkind == b"html" else text


def _day(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    year = int(match[3])
    if len(match[3]) == 2:
        year += 2000 if year < 50 else 1900
    elif len(match[3]) == 3:
        year += 1900
    try:
        return date(year, _MONTHS[match[2].lower()], int(match[1])).toordinal()
    except (KeyError, ValueError):
        return None


def _text(value: bytes | None, utf8: bool) -> bytes | None:
    if value is None or value.isascii():
        return value
    return decode.charset_text(value, "").encode("utf-8", "replace") if utf8 else decode.encode_8bit(value)


def _envelope(fields: list[tuple[bytes, bytes]], utf8: bool) -> tuple[object, ...]:
    first: dict[bytes, bytes] = {}
    for name, value in fields:
        lowered = name.lower()
        if lowered in _LISTS and lowered in first:
            first[lowered] += b", " + value       # a repeated To counts whole
        else:
            first.setdefault(lowered, value)

    def one(name: bytes) -> bytes | None:
        return _text(first.get(name) or None, utf8)

    def people(name: bytes) -> tuple[object, ...] | None:
        value = first.get(name)
        found = address.parse(value) if value else []
        if not found:
            return None
        return (Run(_person(person, utf8) for person in found),)

    sender = people(b"from")
    return (one(b"date"), one(b"subject"), sender, people(b"sender") or sender,
            people(b"reply-to") or sender, people(b"to"), people(b"cc"), people(b"bcc"),
            one(b"in-reply-to"), one(b"message-id"))


_LISTS = frozenset((b"to", b"cc", b"bcc"))


def _person(person: address.Address, utf8: bool) -> tuple[object, ...]:
    """An address structure.  For a client without UTF-8 an address that needs it
    becomes one that is plainly none, with the real one in its name (RFC 6858)."""
    name, route, mailbox, host = person
    if not utf8 and host is not None and not ((mailbox or b"") + host).isascii():
        whole = (name + b" " if name else b"") + (mailbox or b"") + b"@" + host
        return _text(whole, False), None, b"invalid", b"internationalized-address.invalid"
    return tuple(_text(part, utf8) for part in (name, route, mailbox, host))


def _pairs(params: list[tuple[bytes, bytes]], utf8: bool) -> tuple[object, ...] | None:
    flat = tuple(_text(word, utf8) for pair in params for word in pair)
    return flat or None


def _structure(root: Part, data: bytes, extended: bool, utf8: bool) -> tuple[object, ...]:
    """Children before parents, without recursion: nesting may be deep."""
    order = []
    stack = [root]
    while stack:
        part = stack.pop()
        order.append(part)
        stack.extend(part.children)
    done: dict[int, tuple[object, ...]] = {}
    for part in reversed(order):
        if part.multipart:
            value: tuple[object, ...] = (Run(done.pop(id(child)) for child in part.children), part.subkind)
            if extended:
                value += (_pairs(part.params, utf8), *_extension(part, utf8))
        else:
            value = _leaf(part, data, done, extended, utf8)
        done[id(part)] = value
    return done[id(root)]


def _leaf(part: Part, data: bytes, done: dict[int, tuple[object, ...]], extended: bool,
          utf8: bool) -> tuple[object, ...]:
    kind, subkind = part.kind, part.subkind
    value: tuple[object, ...] = (
        kind, subkind, _pairs(part.params, utf8), _text(part.field(b"content-id"), utf8),
        _text(part.field(b"content-description"), utf8), part.encoding, part.stop - part.body)
    lines = data.count(b"\n", part.body, part.stop)
    inner = part.message
    if inner is not None:
        value += (_envelope(inner.fields, utf8), done.pop(id(inner)), lines)
    elif kind == b"text":
        value += (lines,)
    elif kind == b"message" and subkind in (b"rfc822", b"global"):
        # beyond the bounds, or encoded: its bytes are served, its inside is not told
        value = (b"application", b"octet-stream", *value[2:])
    if extended:
        value += (_text(part.field(b"content-md5"), utf8), *_extension(part, utf8))
    return value


def _extension(part: Part, utf8: bool) -> tuple[object, ...]:
    """disposition, language, location."""
    disposition: tuple[object, ...] | None = None
    raw = part.field(b"content-disposition")
    if raw:
        word, _, rest = raw.partition(b";")
        disposition = (_text(word.strip().lower() or b"attachment", utf8),
                       _pairs(mime.parameters(b";" + rest), utf8))
    language: object = None
    tags = [tag.strip() for tag in (part.field(b"content-language") or b"").split(b",") if tag.strip()]
    if tags:
        language = _text(tags[0], utf8) if len(tags) == 1 else tuple(_text(tag, utf8) for tag in tags)
    return disposition, language, _text(part.field(b"content-location"), utf8)
