"""ENVELOPE and BODYSTRUCTURE as values, nested tuples of bytes, numbers and None, and how they are written.

``courierpy.message.rendered`` gives the bytes of a reply in one step; this is the plain statement of
what they say.
"""
from __future__ import annotations

from courierpy.message import Message, address, decode, parameters
from courierpy.message.headers import wire_form
from courierpy.model.strings import string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.message.mime import Part
    from courierpy.message.source import Octets


def text(value: bytes | None, utf8: bool) -> bytes | None:
    """A header text for a client with or without UTF-8."""
    if value is None or value.isascii():
        return value
    return decode.utf_8(value) if utf8 else decode.encode_8bit(value)


class Run(tuple[object, ...]):
    """Values written one after another, without blanks or parentheses around
    them: the parts of a multipart, the addresses of a list."""

    __slots__ = ()


def envelope(message: Message, utf8: bool = False) -> tuple[object, ...]:
    """``utf8``: 8-bit text stays, else it becomes encoded words."""
    return _envelope(message.known, utf8)


def _envelope(known: Mapping[bytes, bytes], utf8: bool) -> tuple[object, ...]:
    """RFC 9051 7.5.2, of the fields that ``headers.told`` found."""
    def one(name: bytes) -> bytes | None:
        return text(known.get(name), utf8)

    def people(name: bytes) -> tuple[object, ...] | None:
        value = known.get(name)
        found = address.parse(value) if value else []
        if not found:
            return None
        return (Run(person(each, utf8) for each in found),)

    sender = people(b"from")
    return (one(b"date"), one(b"subject"), sender, people(b"sender") or sender,
            people(b"reply-to") or sender, people(b"to"), people(b"cc"), people(b"bcc"),
            one(b"in-reply-to"), one(b"message-id"))


def person(whole: address.Address, utf8: bool) -> tuple[bytes | None, ...]:
    """An address structure.  For a client without UTF-8 an address that needs it
    becomes one that is plainly none, with the real one in its name (RFC 6858)."""
    name, route, mailbox, host = whole
    if not utf8 and host is not None and not ((mailbox or b"") + host).isascii():
        spelled = (name + b" " if name else b"") + (mailbox or b"") + b"@" + host
        return text(spelled, False), None, b"invalid", b"internationalized-address.invalid"
    return tuple(text(part, utf8) for part in (name, route, mailbox, host))


def pairs(params: list[tuple[bytes, bytes]], utf8: bool) -> tuple[object, ...] | None:
    flat = tuple(text(word, utf8) for pair in params for word in pair)
    return flat or None


def structure(message: Message, extended: bool, utf8: bool = False) -> tuple[object, ...]:
    """BODYSTRUCTURE, or BODY when not ``extended``.

    Children before parents, without recursion: nesting may be deep.
    """
    root, data = message.root, message.data
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
                value += (pairs(part.params, utf8), *_extension(part, utf8))
        else:
            value = _leaf(part, data, done, extended, utf8)
        done[id(part)] = value
    return done[id(root)]


def _leaf(part: Part, data: Octets, done: dict[int, tuple[object, ...]], extended: bool,
          utf8: bool) -> tuple[object, ...]:
    kind, subkind = part.kind, part.subkind
    value: tuple[object, ...] = (
        kind, subkind, pairs(part.params, utf8), text(part.field(b"content-id"), utf8),
        text(part.field(b"content-description"), utf8), part.encoding,
        len(wire_form(data[part.body:part.stop])))
    lines = data.count(b"\n", part.body, part.stop)
    inner = part.message
    if inner is not None:
        value += (_envelope(inner.known, utf8), done.pop(id(inner)), lines)
    elif kind == b"text":
        value += (lines,)
    elif kind == b"message" and subkind in (b"rfc822", b"global"):
        # beyond the bounds, or encoded: its bytes are served, its inside is not told
        value = (b"application", b"octet-stream", *value[2:])
    if extended:
        value += (text(part.field(b"content-md5"), utf8), *_extension(part, utf8))
    return value


def _extension(part: Part, utf8: bool) -> tuple[object, ...]:
    """disposition, language, location."""
    told = parameters.disposition(part.field(b"content-disposition") or b"")
    disposition = None if told is None else (text(told[0], utf8), pairs(told[1], utf8))
    tags = [text(tag, utf8) for tag in parameters.languages(part.field(b"content-language") or b"")]
    language: object = tuple(tags) if len(tags) > 1 else (tags or [None])[0]
    return disposition, language, text(part.field(b"content-location"), utf8)


def render(value: object, utf8: bool = False) -> bytes:
    """None, int, bytes (string), tuple (list) and Run (no blanks, no parentheses).

    Works through a stack of its own: a message may be nested deeper than
    Python's calls.
    """
    parts: list[bytes] = []
    stack: list[object] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, _Raw):
            parts.append(item)
        elif item is None:
            parts.append(b"NIL")
        elif isinstance(item, bytes):
            parts.append(string(item, utf8))
        elif isinstance(item, int):
            parts.append(b"%d" % item)
        elif isinstance(item, Run):
            stack.extend(reversed(item))
        elif isinstance(item, tuple):
            stack.append(_CLOSE)
            for at in range(len(item) - 1, -1, -1):
                stack.append(item[at])
                if at:
                    stack.append(_BLANK)
            stack.append(_OPEN)
        else:
            raise TypeError(f"cannot render {type(item).__name__}")
    return b"".join(parts)


class _Raw(bytes):
    __slots__ = ()


_OPEN, _CLOSE, _BLANK = _Raw(b"("), _Raw(b")"), _Raw(b" ")
