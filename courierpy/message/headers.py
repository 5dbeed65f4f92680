"""Header blocks: where they end, their fields, unfolding.  RFC 5322 2.2."""
from __future__ import annotations

import re

_BLANK = re.compile(rb"\n\r?\n")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.M)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


def header_end(data: bytes, start: int, stop: int) -> int:
    """Where the body begins: behind the empty line, or ``stop``."""
    if data.startswith((b"\n", b"\r\n"), start):
        return min(stop, start + (1 if data[start:start + 1] == b"\n" else 2))
    return blank_line(data, start, stop)[1]


def blank_line(data: bytes, start: int, stop: int | None = None) -> tuple[int, int]:
    """Where the first empty line stands, and where it ends; ``stop`` twice without one."""
    stop = len(data) if stop is None else stop
    match = _BLANK.search(data, start, stop)
    return match.span() if match is not None else (stop, stop)


def fields(data: bytes, start: int, stop: int) -> list[tuple[bytes, bytes]]:
    """(name as spelled, value unfolded and stripped) of each field, in order."""
    return [(match[1], unfold(match[2])) for match in _FIELD.finditer(data, start, stop)]


def unfold(value: bytes) -> bytes:
    """The line breaks go, the blanks stay; NUL and bare CR become blanks."""
    value = _FOLD.sub(b"", value) if b"\n" in value else value
    if b"\r" in value or b"\0" in value:
        value = value.rstrip(b"\r").replace(b"\r", b" ").replace(b"\0", b" ")
    return value.strip(b" \t")


def raw_fields(data: bytes, start: int, stop: int, wanted: frozenset[bytes], negate: bool) -> bytes:
    """The lines of the fields in (or, negated, not in) ``wanted`` (lower case), as they stand."""
    kept = []
    for line in re.finditer(rb"[^\n]*(?:\n(?=[ \t])[^\n]*)*(?:\n|\Z)", data[start:stop]):
        text = line[0]
        if not text.strip(b"\r\n"):
            continue
        name, colon, _ = text.partition(b":")
        known = bool(colon) and name.rstrip(b" \t").lower() in wanted
        if known != negate:
            kept.append(text if text.endswith(b"\n") else text + b"\n")
    return b"".join(kept)
