"""Structured MIME fields: a word and ``; name=value`` behind it.  RFC 2045 5.1, RFC 2183, RFC 3282 2.

Comments and blanks may stand between any two words.  RFC 2231 parameters are told as they
stand: pieces are joined, and stay ``name*`` with charset, language and percent signs where
one of them has them; clients decode.  What breaks the grammar keeps its names: a separator
that is missing or another one, a type that is missing or quoted, quotes that nothing closes.
Of a longer value ``MOST_OCTETS`` are read: a parameter is many times as large in memory as in a header.
"""
from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from courierpy.message.lexical import QUOTED, masked, unquoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_OCTETS = 64 * 1024
Pairs = list[tuple[bytes, bytes]]      # (name in lower case, value)

_TOKEN = rb"""[^\s()<>@,;:\\"/\[\]?=]+"""
_TYPE = re.compile(rb'\s*(?:"\s*)?(%s)\s*(?:"\s*)?/\s*(?:"\s*)?(%s)"?' % (_TOKEN, _TOKEN))
_WORD = re.compile(rb'\s*(?:"\s*)?(%s)"?\s*(?:/\s*)?(?=([=*])?)' % _TOKEN)
_TAG = re.compile(rb'[^\s,;"]+')
# ``; name=value`` where nothing needs a second look; the last group is the rest that may
_PLAIN = re.compile(rb"""[\s;]*([^\s=;:,"*()]+)\s*=\s*(?:"([^"\\\x0e\x1b]*)"|([^\s;,"()\x0e\x1b]+))\s*(?:;|\Z)
    |(.+)""", re.S | re.X)
_APART = re.compile(rb"[\s;,]*")
_GAP = re.compile(rb"[\s,]*")
# a name may stand in quotes, with blanks before its star
_NAME = re.compile(rb"""(?:"([^\s=:;,"]+)"|([^\s=:;,"]+)(?:[ \t]+(\*[0-9*]*))?)\s*(?:([=:])\s*|(?="))""")
_RUN = re.compile(rb"[^\s;,]+")
_QUOTES = re.compile(rb'"+\s*(?=[;,]|\Z)')
_PASSED = re.compile(rb'[^\s;,"]+')
_PIECE = re.compile(rb"([^*]+)\*(0|[1-9]\d{0,3})(\*?)")
_NOT_ATTRIBUTE_CHAR = re.compile(rb"""[^!#$&+\-.0-9A-Z^_`a-z{|}~]""")      # RFC 2231 7
_FILES = frozenset((b"name", b"filename"))     # whose values may hold blanks without quotes
_USUAL = frozenset((b"boundary", b"charset", b"delsp", b"filename", b"format", b"micalg", b"name",
                    b"protocol",
                    b"report-type", b"size", b"start", b"type", b"creation-date", b"modification-date"))
# a main type without a subtype (RFC 2046 4: what is not known is octets)
_ALONE = {b"text": b"plain", b"multipart": b"mixed", **dict.fromkeys(
    (b"application", b"audio", b"font", b"image", b"model", b"video"), b"octet-stream")}


def content_type(value: bytes) -> tuple[bytes, bytes, Pairs]:
    """(type, subtype, parameters); of a value without a type those of a plain text."""
    value = value[:MOST_OCTETS]
    mask = masked(value)
    match = _TYPE.match(mask)
    if match is not None:
        return match[1].lower(), match[2].lower(), parameters(value, match.end(), mask)
    match = _WORD.match(mask)
    if match is None or match[2]:
        return b"text", b"plain", parameters(value, 0, mask)
    kind = match[1].lower()
    subkind = _ALONE.get(kind)
    if subkind is None:
        kind, subkind = b"text", b"plain"
    elif subkind == b"octet-stream":
        kind = b"application"
    return kind, subkind, parameters(value, match.end(), mask)


def disposition(value: bytes) -> tuple[bytes, Pairs] | None:
    """(type, parameters); None of a value that says nothing.  RFC 2183 2.8: a type that is
    not known, as one that is missing, is taken for an attachment."""
    value = value[:MOST_OCTETS]
    mask = masked(value)
    if not mask.strip():
        return None
    match = _WORD.match(mask)
    if match is None or match[2]:
        return b"attachment", parameters(value, 0, mask)
    return match[1].lower(), parameters(value, match.end(), mask)


def languages(value: bytes) -> list[bytes]:
    """The tags of Content-Language (RFC 3282 2), without the weights of Accept-Language."""
    return [tag for tag in _TAG.findall(masked(value[:MOST_OCTETS])) if b"=" not in tag]


def word(value: bytes) -> bytes:
    """The first word in lower case, as of Content-Transfer-Encoding; b"" without one."""
    match = _WORD.match(masked(value[:MOST_OCTETS]))
    return match[1].lower() if match is not None else b""


def find(pairs: Pairs, name: bytes) -> bytes:
    """A parameter's value for our own use, b"" without one: of ``name*`` the octets that
    its percent signs stand for."""
    for own, value in pairs:
        if own == name:
            return value
    for own, value in pairs:
        if own == name + b"*":
            return unquote_to_bytes(value.split(b"'", 2)[-1] if value.count(b"'") > 1 else value)
    return b""


def parameters(value: bytes, start: int = 0, mask: bytes | None = None) -> Pairs:
    """The parameters in ``value`` from ``start`` on; ``mask``: ``value`` without its comments."""
    found = _PLAIN.findall(value, start)
    if not found or not found[-1][3]:
        return [(name.lower(), quoted or plain) for name, quoted, plain, _ in found]
    return _joined(list(_Parameters(value, start, masked(value) if mask is None else mask)))


class _Parameters:
    """The pairs one after another, as they stand."""

    def __init__(self, value: bytes, start: int, mask: bytes) -> None:
        self.value = value
        self.mask = mask
        self.at = start
        self.quotes = True         # until one is met that nothing closes
        self.semicolon = -1        # the next one from here on, and where the text before it ends
        self.text_end = -1

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        mask = self.mask
        while True:
            self.at = self._behind(_APART)
            if self.at == len(mask):
                return
            name = _NAME.match(mask, self.at)
            if name is None:       # a word without a value is passed over
                passed = self._quote() or _PASSED.match(mask, self.at)
                self.at = passed.end() if passed is not None else self.at + 1
                continue
            self.at = name.end()
            own = _own(name)
            yield own, self._quoted() if mask.startswith(b'"', self.at) else self._text(own)

    def _behind(self, pattern: re.Pattern[bytes]) -> int:
        match = pattern.match(self.mask, self.at)
        return match.end() if match is not None else self.at

    def _aim(self) -> None:
        """Find the next semicolon; once for all that stands before it."""
        if self.semicolon < self.at:
            found = self.mask.find(b";", self.at)
            self.semicolon = found if found >= 0 else len(self.mask)
            self.text_end = self.at + len(self.mask[self.at:self.semicolon].rstrip())

    def _quote(self) -> re.Match[bytes] | None:
        """The quoted string that begins here."""
        if not self.quotes or not self.mask.startswith(b'"', self.at):
            return None
        match = QUOTED.match(self.mask, self.at)
        self.quotes = match is not None
        return match

    def _quoted(self) -> bytes:
        """A value that begins with a quote."""
        start = self.at
        match = self._quote()
        if match is None:
            self._aim()
            self.at = self.semicolon
            return _without_stray(self.value[start + 1:self.text_end])
        self.at = match.end()
        behind = b""
        rest = self.mask[self.at:self.at + 1]
        if rest and rest not in b";," and not rest.isspace():
            quotes = _QUOTES.match(self.mask, self.at)
            if quotes is not None:
                self.at = quotes.end()
            elif not _begins_usual(_NAME.match(self.mask, self.at)):
                # text: if a quote ends it, those before were quotes of the text
                self._aim()
                if self.mask.startswith(b'"', self.text_end - 1):
                    self.at = self.semicolon
                    return unquoted(self.value[start:self.text_end])
                end, self.at = self.at, self._behind(_PASSED)
                behind = self.value[end:self.at]
        return unquoted(self.value[start:match.end()]) + behind

    def _text(self, own: bytes) -> bytes:
        """A value without quotes, up to a separator, or to what looks like the next name."""
        mask = self.mask
        start = end = self.at
        while self.at < len(mask):
            match = _RUN.match(mask, self.at)
            if match is not None:
                end = self.at = match.end()
            self.at = self._behind(_GAP)
            if mask.startswith(b";", self.at):
                break
            name = _NAME.match(mask, self.at) if self.at > end else None
            if name is not None and name[4] == b"=" and (
                    own.partition(b"*")[0] not in _FILES or _begins_usual(name)):
                break
        return _without_stray(self.value[start:end])


def _own(name: re.Match[bytes]) -> bytes:
    """The name that _NAME matched."""
    return ((name[1] or name[2]) + (name[3] or b"")).lower()


def _begins_usual(name: re.Match[bytes] | None) -> bool:
    """Is this a parameter, and not some text with a sign in it?"""
    if name is None or name[4] != b"=":
        return False
    own = _own(name).partition(b"*")[0]
    return own in _USUAL or own.startswith(b"x-")


def _without_stray(text: bytes) -> bytes:
    r"""A value without the quotes that senders forgot to open, or escaped: utf-8", \"utf-8\"."""
    if text.startswith(b'\\"') and text.endswith(b'\\"') and len(text) > 3:
        return text[2:-2]
    if text.endswith(b'"') and text.count(b'"') % 2:
        return text[:-1].removesuffix(b"\\")
    return text


def _joined(pairs: Pairs) -> Pairs:
    """Pieces ``name*0``, ``name*1`` as one parameter at the place of the first.  Those of which
    some are missing, or there twice, stay as they are."""
    pieces: dict[bytes, dict[int, tuple[bool, bytes]]] = {}
    bad: set[bytes] = set()
    matches = [_PIECE.fullmatch(name) if b"*" in name else None for name, _ in pairs]
    for match, (_, value) in zip(matches, pairs, strict=True):
        if match is not None:
            known = pieces.setdefault(match[1], {})
            if int(match[2]) in known:
                bad.add(match[1])
            known[int(match[2])] = bool(match[3]), value
    whole = {name: [piece for _, piece in sorted(known.items())] for name, known in pieces.items()
             if name not in bad and len(known) == 1 + max(known)}
    told: Pairs = []
    done: set[bytes] = set()
    for match, pair in zip(matches, pairs, strict=True):
        if match is None or match[1] not in whole:
            told.append(pair)
        elif match[1] not in done:
            done.add(match[1])
            told.append(_whole(match[1], whole[match[1]]))
    return told


def _whole(name: bytes, pieces: list[tuple[bool, bytes]]) -> tuple[bytes, bytes]:
    """One parameter of all its pieces, in their order."""
    if not any(encoded for encoded, _ in pieces):
        return name, b"".join([value for _, value in pieces])
    values = [value if encoded else _NOT_ATTRIBUTE_CHAR.sub(_percent, value) for encoded, value in pieces]
    if not pieces[0][0]:
        values.insert(0, b"''")    # charset and language, which only the first piece could have
    return name + b"*", b"".join(values)


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
