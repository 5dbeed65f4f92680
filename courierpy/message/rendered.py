"""ENVELOPE and BODYSTRUCTURE as the bytes of a reply.  RFC 9051 7.5.2.

Usual addresses and plain texts go from the header to the reply in one step, without values between.
Sizes are those of the wire form, found by counting line ends.
"""
from __future__ import annotations

from courierpy.message import address, decode, parameters
from courierpy.message.headers import CR
from courierpy.message.mime import encoding
from courierpy.model.strings import LONGEST_OCTETS, NOT_PLAIN, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from courierpy.message.mime import Part
    from courierpy.message.source import Octets

_BACKSLASH = 92


def text(value: bytes | None, utf8: bool) -> bytes:
    """A text of a header, None as NIL."""
    if value is None:
        return b"NIL"
    if NOT_PLAIN.search(value) is None and len(value) <= LONGEST_OCTETS:
        return b'"%s"' % value
    if not value.isascii():
        value = decode.utf_8(value) if utf8 else decode.encode_8bit(value)
    return string(value, utf8)


def _listed(items: Iterable[bytes]) -> bytes:
    return b"(%s)" % b" ".join(items)


def envelope(known: Mapping[bytes, bytes], utf8: bool) -> bytes:
    """Of the fields that ``headers.told`` found."""
    get = known.get
    sender = _people(get(b"from"), utf8) or b"NIL"
    return b"(%s %s %s %s %s %s %s %s %s %s)" % (
        text(get(b"date"), utf8), text(get(b"subject"), utf8), sender,
        _people(get(b"sender"), utf8) or sender, _people(get(b"reply-to"), utf8) or sender,
        _people(get(b"to"), utf8) or b"NIL", _people(get(b"cc"), utf8) or b"NIL",
        _people(get(b"bcc"), utf8) or b"NIL", text(get(b"in-reply-to"), utf8),
        text(get(b"message-id"), utf8))


def _people(value: bytes | None, utf8: bool) -> bytes | None:
    """An address list; None without any."""
    if not value:
        return None
    if value.isascii() and _BACKSLASH not in value and len(value) <= LONGEST_OCTETS:
        usual = address.usual(value)
        if usual is not None:
            return b"(%s)" % b"".join([
                b'("%s" NIL "%s" "%s")' % one if one[0] else b'(NIL NIL "%s" "%s")' % one[1:]
                for one in usual])
    people = [_person(person, utf8) for person in address.parse(value)]
    return b"(%s)" % b"".join(people) if people else None


def _person(whole: address.Address, utf8: bool) -> bytes:
    """An address structure.  For a client without UTF-8 an address that needs it
    becomes one that is plainly none, with the real one in its name (RFC 6858)."""
    name, _, mailbox, host = whole
    if not utf8 and host is not None and not ((mailbox or b"") + host).isascii():
        spelled = (name + b" " if name else b"") + (mailbox or b"") + b"@" + host
        return b'(%s NIL "invalid" "internationalized-address.invalid")' % text(spelled, False)
    return _listed([text(part, utf8) for part in whole])


class _Places:
    """How long pieces of the file are in its wire form, and how many lines they have.

    Each octet is counted once, however deep the parts that it is in.
    """

    __slots__ = ("bare", "lines")

    def __init__(self, data: Octets, places: Iterable[int]) -> None:
        self.lines: dict[int, int] = {}         # place -> LFs before it
        self.bare: dict[int, int] = {}          # place -> LFs before it without a CR
        returns = not isinstance(data, bytes) or CR in data
        last = lines = bare = 0
        for place in sorted(places):
            if place > last:
                count = data.count(b"\n", last, place)
                lines += count
                bare += count - data.count(b"\r\n", last, place) if returns else count
                last = place
            self.lines[place] = lines
            self.bare[place] = bare

    def measure(self, part: Part) -> tuple[int, int]:
        """(octets, lines) of the content of a part."""
        start, stop = part.body, part.stop
        return stop - start + self.bare[stop] - self.bare[start], self.lines[stop] - self.lines[start]


def structure(root: Part, extended: bool, utf8: bool) -> bytes:
    """BODYSTRUCTURE, or BODY when not ``extended``."""
    leaves = [root]
    if root.children:
        leaves = [part for part in root.walk() if not part.multipart]
    places = _Places(root.data, {place for part in leaves for place in (part.body, part.stop)})
    pieces: list[bytes] = []
    stack: list[Part | bytes] = [root]
    while stack:                       # no recursion: nesting may be deep
        part = stack.pop()
        if isinstance(part, bytes):
            pieces.append(part)
        elif part.multipart:
            pieces.append(b"(")
            stack.append(multipart(part.subkind, part.params, part.known, extended, utf8))
            stack.extend(reversed(part.children))
        else:
            size, lines = places.measure(part)
            head, tail = _leaf(part, size, lines, extended, utf8)
            pieces.append(head)
            stack.append(tail)
            inner = part.message
            if inner is not None:
                stack.append(inner)
    return b"".join(pieces)


def _leaf(part: Part, size: int, lines: int, extended: bool, utf8: bool) -> tuple[bytes, bytes]:
    """What stands before the structure of the message inside, if there is one, and after it."""
    kind, subkind = part.kind, part.subkind
    inner = part.message
    if inner is None and kind == b"message" and subkind in (b"rfc822", b"global"):
        # beyond the bounds, or encoded: its bytes are served, its inside is not told
        kind, subkind = b"application", b"octet-stream"
    head, tail = leaf(kind, subkind, part.params, part.known, extended, utf8)
    head += b"%d" % size
    if inner is not None:
        head += b" %s " % envelope(inner.known, utf8)
        tail = b" %d%s" % (lines, tail)
    elif kind == b"text":
        tail = b" %d%s" % (lines, tail)
    return head, tail


def leaf(kind: bytes, subkind: bytes, params: list[tuple[bytes, bytes]], fields: Mapping[bytes, bytes],
         extended: bool, utf8: bool) -> tuple[bytes, bytes]:
    """What stands before the size of a part that is no multipart, and behind the number of its lines."""
    get = fields.get
    encoded = encoding(get(b"content-transfer-encoding", b""))
    head = b"(%s %s %s %s %s " % (
        _strings((kind, subkind), utf8), _pairs(params, utf8), text(get(b"content-id"), utf8),
        text(get(b"content-description"), utf8), string(encoded, utf8))
    if not extended:
        return head, b")"
    return head, b" %s %s)" % (text(get(b"content-md5"), utf8), _extension(fields, utf8))


def multipart(subkind: bytes, params: list[tuple[bytes, bytes]], fields: Mapping[bytes, bytes],
              extended: bool, utf8: bool) -> bytes:
    """What stands behind the parts of a multipart."""
    if not extended:
        return b" %s)" % string(subkind, utf8)
    return b" %s %s %s)" % (string(subkind, utf8), _pairs(params, utf8), _extension(fields, utf8))


def _strings(words: Collection[bytes], utf8: bool) -> bytes:
    """``string`` of each, with blanks between."""
    whole = b"".join(words)
    if NOT_PLAIN.search(whole) is None and len(whole) <= LONGEST_OCTETS:
        return b'"%s"' % b'" "'.join(words)
    return b" ".join([string(word, utf8) for word in words])


def _pairs(params: list[tuple[bytes, bytes]], utf8: bool) -> bytes:
    if not params:
        return b"NIL"
    words = [word for pair in params for word in pair]
    if not b"".join(words).isascii():
        return _listed([text(word, utf8) for word in words])
    return b"(%s)" % _strings(words, utf8)


def _extension(fields: Mapping[bytes, bytes], utf8: bool) -> bytes:
    """disposition, language, location."""
    get = fields.get
    disposition = language = b"NIL"
    raw = get(b"content-disposition")
    told = parameters.disposition(raw) if raw else None
    if told is not None:
        disposition = b"(%s %s)" % (text(told[0], utf8), _pairs(told[1], utf8))
    raw = get(b"content-language")
    if raw:
        tags = [text(tag, utf8) for tag in parameters.languages(raw)]
        language = _listed(tags) if len(tags) > 1 else b"".join(tags) or b"NIL"
    return b"%s %s %s" % (disposition, language, text(get(b"content-location"), utf8))
