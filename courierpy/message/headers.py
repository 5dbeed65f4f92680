"""Header blocks: where they end, their fields, unfolding.  RFC 5322 2.2.

What asks for a few fields looks for those alone: one regular expression with
their names over the header, and no work for the rest.  Each line that goes on costs
such an expression memory, so large headers are unfolded first.
"""
from __future__ import annotations

import re
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.source import Octets

NUL, LF, CR = 0, 10, 13
LARGE_OCTETS = 16 * 1024           # of a header, from where on patterns see it unfolded
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BLANK = re.compile(rb"\n\r?\n")
_VALUE = rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)"
_FIELD = re.compile(rb"\n([!-9;-~]+)" + _VALUE)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_NAME = re.compile(rb"[!-9;-~]+")
# what ENVELOPE and BODYSTRUCTURE are made of, and what BODYSTRUCTURE alone; the first letters let most
# lines go at once
_OF_PART = rb"content-(?:type|transfer-encoding|id|description|disposition|language|location|md5)"
_TOLD = re.compile(
    rb"\n(?=[BCDFIMRST])(date|subject|from|sender|reply-to|to|cc|bcc|in-reply-to|message-id|" + _OF_PART
    + rb")" + _VALUE, re.I)
_TOLD_OF_PART = re.compile(rb"\n(?=C)(" + _OF_PART + rb")" + _VALUE, re.I)
_LISTS = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"))


def wire_form(data: bytes) -> bytes:
    """Line ends as CRLF."""
    if CR not in data:
        return data.replace(b"\n", b"\r\n")
    if data.count(b"\r\n") == data.count(b"\n"):
        return data
    return _BARE_LF.sub(b"\r\n", data)


def header_end(data: Octets, start: int, stop: int) -> int:
    """Where the body begins: behind the empty line, or ``stop``."""
    if data.startswith((b"\n", b"\r\n"), start):
        return min(stop, start + (1 if data[start:start + 1] == b"\n" else 2))
    return blank_line(data, start, stop)[1]


def blank_line(data: Octets, start: int, stop: int | None = None) -> tuple[int, int]:
    """Where the first empty line stands, and where it ends; ``stop`` twice without one."""
    stop = len(data) if stop is None else stop
    if not isinstance(data, bytes):
        return data.search(_BLANK, 3, start, stop) or (stop, stop)
    match = _BLANK.search(data, start, stop)
    return match.span() if match is not None else (stop, stop)


def block(data: Octets, start: int, stop: int) -> bytes:
    """A header with the end of the line before it, so that each field begins behind one."""
    return data[start - 1:stop] if start else b"\n" + data[:stop]


def cut(header: bytes, limit: int) -> bytes:
    """No more of a block than ``limit`` octets of its wire form."""
    if len(header) <= limit // 2:
        return header              # each octet may count twice
    return header[:1] + wire_form(header[1:limit + 1])[:limit]


def fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """(name as spelled, value unfolded and stripped) of each field of a block, in order."""
    return [(name, unfold(value)) for name, value in _FIELD.findall(_flat(header))]


def told(header: bytes, of_part: bool = False) -> dict[bytes, bytes]:
    """Lower-case name -> value of the fields that ENVELOPE and BODYSTRUCTURE tell; ``of_part``: of those that
    BODYSTRUCTURE tells.

    The first of a name that says something counts.  The addresses of all count: the values
    of a repeated field of them are joined with LF, which no value holds.
    """
    found: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for name, value in (_TOLD_OF_PART if of_part else _TOLD).findall(_flat(header)):
        name = name.lower()
        if not found.get(name):
            found[name] = _stripped(value)
        elif name in _LISTS:
            more.setdefault(name, [found[name]]).append(unfold(value))
    for name, values in more.items():
        found[name] = b"\n".join(filter(None, values))
    return found


def _stripped(value: bytes) -> bytes:
    """As unfold() gives it; in most there is nothing to unfold."""
    return unfold(value) if LF in value or CR in value or NUL in value else value.strip(b" \t")


@lru_cache(64)
def _one(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\n" + re.escape(name) + _VALUE, re.I)


def values(header: bytes, name: bytes) -> list[bytes]:
    """The unfolded values of one field of a block, in order."""
    if _NAME.fullmatch(name) is None:
        return []
    return [unfold(value) for value in _one(name.lower()).findall(_flat(header))]


def _flat(header: bytes) -> bytes:
    """A large block with each field on one line."""
    if len(header) > LARGE_OCTETS:
        for end in (b"\r\n ", b"\r\n\t", b"\n ", b"\n\t"):
            header = header.replace(end, end[-1:])
    return header


def unfold(value: bytes) -> bytes:
    """The line breaks go, the blanks stay; NUL and bare CR become blanks."""
    if CR in value or NUL in value:
        value = _FOLD.sub(b"", value)
        value = value.rstrip(b"\r").replace(b"\r", b" ").replace(b"\0", b" ")
    elif LF in value:
        value = value.replace(b"\n", b"")      # each has a blank behind it, or it would end the field
    return value.strip(b" \t")


@lru_cache(64)
def _some(names: frozenset[bytes]) -> re.Pattern[bytes] | None:
    """The lines of these fields in a block; None where a name is none that a field can have."""
    if not names or not all(map(_NAME.fullmatch, names)):
        return None
    return re.compile(rb"\n((?:" + b"|".join(re.escape(name) for name in sorted(names)) +
                      rb")[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*)", re.I)


def _lines(header: bytes) -> Iterator[bytes]:
    """Each field of a header with its line ends, and what stands between fields."""
    lines: list[bytes] = []
    for line in header.split(b"\n"):
        if lines and line[:1] not in (b" ", b"\t"):
            yield b"\n".join([*lines, b""])
            lines.clear()
        lines.append(line)
    yield b"\n".join(lines)


def raw_fields(data: bytes, start: int, stop: int, wanted: frozenset[bytes], negate: bool) -> bytes:
    """The lines of the fields in (or, negated, not in) ``wanted`` (lower case), as they stand."""
    pattern = None if negate or stop - start > LARGE_OCTETS else _some(wanted)
    if pattern is not None and (not start or data.startswith(b"\n", start - 1)):
        lines = pattern.findall(block(data, start, stop))
        return b"\n".join(lines) + b"\n" if lines else b""
    kept = []
    for text in _lines(data[start:stop]):
        if not text.strip(b"\r\n"):
            continue
        name, colon, _ = text.partition(b":")
        known = bool(colon) and name.rstrip(b" \t").lower() in wanted
        if known != negate:
            kept.append(text if text.endswith(b"\n") else text + b"\n")
    return b"".join(kept)
