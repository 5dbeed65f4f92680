"""SMAP's words: cut from a client's line, and spelled for it.  Sans-IO.

Words stand between blanks.  One that has a blank, a quote or nothing in it stands in quotes, and each quote
of it is written twice.  Messages are numbers and ranges, ``3 5-7``, a word each.
"""
from __future__ import annotations

import re

from courierpy.maildir.formats.keywordlist import as_keyword
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.model.replies import Bad
from courierpy.model.uidset import runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

SYNTAX = "Syntax error."
MAX_LINE = 64 * 1024               # octets of a command; clients keep to 8000
RANGES_IN_LINE = 100               # of numbers that are told
# bits and names, in the order in which Courier tells them
FLAGS = ((DRAFT, b"DRAFT"), (FLAGGED, b"MARKED"), (ANSWERED, b"REPLIED"), (SEEN, b"SEEN"),
         (DELETED, b"DELETED"))
BITS = {name: bit for bit, name in FLAGS}
_BLANKS = b" \t\r"
_WORD = re.compile(rb'"((?:[^"]|"")*)"|([^ \t\r]+)')
_NUMBERS = re.compile(rb"(\d{1,10})(?:-(\d{1,10}))?")
_LITERAL = re.compile(rb"\{(?:\.(\d{0,18})|(\d{1,18})/(\d{1,18}))\}")
_CONTENTS = re.compile(rb"CONTENTS(\.PEEK)?=(MIME|ALL|BODY|BODY\.DECODED|HEADERS|RAWHEADERS)"
                       rb"(?:\[([^\]]*)\])?(?:\(([^)]*)\))?", re.I)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
ENVELOPE = (b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to",
            b"message-id", b"references")


def words(line: bytes) -> list[bytes]:
    """The words of a command.  Raises Bad for quotes that do not end."""
    found: list[bytes] = []
    at = 0
    while True:
        while line[at:at + 1] and line[at] in _BLANKS:
            at += 1
        if at == len(line):
            return found
        match = _WORD.match(line, at)
        if match is None or match[1] is None and match[0].startswith(b'"'):
            raise Bad(SYNTAX)
        found.append(match[2] if match[1] is None else match[1].replace(b'""', b'"'))
        at = match.end()


def quoted(word: str | bytes) -> bytes:
    """In quotes, as Courier tells all that is not of its own making."""
    octets = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
    return b'"%s"' % octets.replace(b'"', b'""')


def line(*words: bytes) -> bytes:
    """A whole line of words that are spelled."""
    return b" ".join(words) + b"\n"


def ok(text: str) -> bytes:
    """The last line of an answer."""
    return b"+OK %s\n" % _shown(text)


def err(text: str) -> bytes:
    """The same, of what was not done."""
    return b"-ERR %s\n" % _shown(text)


def _shown(text: str) -> bytes:
    return "".join(char if char.isprintable() else "?" for char in text).encode("utf-8", "replace")


def text_of(word: bytes) -> str:
    """A word that is text.  Raises Bad where it is none, or has control characters."""
    try:
        text = word.decode()
    except UnicodeDecodeError:
        raise Bad(SYNTAX) from None
    if _CONTROLS.search(text):
        raise Bad(SYNTAX)
    return text


# -- messages

def numbers(words: Sequence[bytes]) -> tuple[list[tuple[int, int]], list[bytes]]:
    """(ranges, merged and ascending; the words behind them)."""
    ranges: list[tuple[int, int]] = []
    for word in words:
        match = _NUMBERS.fullmatch(word)
        if match is None:
            break
        low = int(match[1])
        ranges.append((low, int(match[2]) if match[2] else low))
    return merged(ranges), list(words[len(ranges):])


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending, without those that end before they begin."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        low = max(low, 1)
        if low > high:
            continue
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def told_numbers(name: bytes, found: Sequence[int], are_gone: bool = False) -> bytes:
    """``* EXPUNGE 3 5-7``: as many lines as it takes, none for none.  ``found``: ascending.  ``are_gone``:
    each line has the numbers that are left by the lines before it."""
    ranges, gone, told = runs(found), 0, []
    for at in range(0, len(ranges), RANGES_IN_LINE):
        part = ranges[at:at + RANGES_IN_LINE]
        told.append(line(b"*", name, *[b"%d" % (low - gone) if low == high else
                                       b"%d-%d" % (low - gone, high - gone) for low, high in part]))
        if are_gone:
            gone += sum(high - low + 1 for low, high in part)
    return b"".join(told)


# -- flags and keywords

def flags(bits: int) -> bytes:
    """``FLAGS=MARKED,SEEN``."""
    return b"FLAGS=" + b",".join([name for bit, name in FLAGS if bits & bit])


def bits(text: bytes) -> int:
    """What FLAGS= has behind it; names that nobody knows are passed over."""
    found = 0
    for name in text.upper().split(b","):
        found |= BITS.get(name, 0)
    return found


def keywords(words: Collection[bytes]) -> bytes:
    """``"KEYWORDS=Bar,Foo"``."""
    return quoted(b"KEYWORDS=" + b",".join(sorted(words)))


def keywords_of(text: bytes) -> frozenset[bytes]:
    """What KEYWORDS= has behind it.  What IMAP has no words for becomes ``_``, as Courier's IMAP shows it."""
    return frozenset(as_keyword(word) for word in text.split(b",") if word)


# -- the octets of messages

class Literal:
    """What a client announces: ``octets`` of the first piece, None for lines up to a dot."""

    __slots__ = ("octets",)

    def __init__(self, octets: int | None) -> None:
        self.octets = octets


def literal(word: bytes) -> Literal | None:
    """``{.300}`` or ``{300/4000}``; None for another word."""
    match = _LITERAL.fullmatch(word)
    if match is None:
        return None
    return Literal(int(match[2]) if match[2] is not None else None)


class Contents:
    """What of a message FETCH asks for.  ``kind``: MIME, ALL ...; ``part``: of which part, b"" for the
    message; ``names``: in lower case, of which fields, empty for all.  ``peeks``: it does not make the
    message SEEN."""

    __slots__ = ("kind", "names", "part", "peeks")

    def __init__(self, kind: bytes, part: bytes, names: frozenset[bytes], peeks: bool) -> None:
        self.kind = kind
        self.part = part
        self.names = names
        self.peeks = peeks

    def wants(self, name: bytes) -> bool:
        """Is this field, in lower case, asked for?"""
        return not self.names or name in self.names or b":mime" in self.names and (
            name == b"mime-version" or name.startswith(b"content-"))


def contents(word: bytes) -> Contents | None:
    """None for a word that asks for no contents."""
    match = _CONTENTS.fullmatch(word)
    if match is None:
        return None
    names = {name.strip().lower() for name in (match[4] or b"").split(b",")} - {b""}
    if not names.isdisjoint({b":envelope", b":mime"}):
        names.update(ENVELOPE)
    return Contents(match[2].upper(), match[3] or b"", frozenset(names), match[1] is not None)
