"""What structured fields are written in: comments, quoted strings, blanks.  RFC 5322 3.2.

Any octets give something, in time that grows with their number alone: what is opened and
never closed is text.
"""
from __future__ import annotations

import re

QUOTED = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.S)
_OPENS = re.compile(rb'\\.|["(]', re.S)
_IN_COMMENT = re.compile(rb"\\.|[()]", re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)


def comments(value: bytes) -> dict[int, int]:
    """Where each comment outside of quoted strings begins, and where it ends (behind its
    parenthesis).  Comments inside a comment are part of it."""
    if b"(" not in value or b")" not in value:
        return {}
    open_for_ever: set[int] = set()
    while True:
        found, lost = _scan(value, open_for_ever)
        if not lost:
            return found
        if open_for_ever:          # a second time: quotes and parentheses cross without end
            return {start: end for start, end in found.items() if start < lost[0]}
        open_for_ever.update(lost)


def _scan(value: bytes, texts: set[int]) -> tuple[dict[int, int], list[int]]:
    """(comments, places of parentheses that nothing closes), all but ``texts``."""
    found: dict[int, int] = {}
    quotes = True                  # until one is met that nothing closes
    at = 0
    while (match := _OPENS.search(value, at)) is not None:
        at = match.end()
        if match[0] == b'"' and quotes:
            quoted = QUOTED.match(value, match.start())
            quotes = quoted is not None
            at = quoted.end() if quoted is not None else at
        elif match[0] == b"(" and match.start() not in texts:
            opened = [match.start()]
            for inner in _IN_COMMENT.finditer(value, at):
                if inner[0] == b"(":
                    opened.append(inner.start())
                elif inner[0] == b")":
                    opened.pop()
                    if not opened:
                        at = found[match.start()] = inner.end()
                        break
            else:
                return found, opened
    return found, []


def masked(value: bytes) -> bytes:
    """The same with blanks for the octets of comments: all else stays at its place."""
    if b"(" not in value:
        return value
    pieces: list[bytes] = []
    at = 0
    for start, end in comments(value).items():
        pieces += (value[at:start], b" " * (end - start))
        at = end
    return b"".join([*pieces, value[at:]])


def unquoted(text: bytes) -> bytes:
    """What is between the quotes of a quoted string, without the backslashes of its pairs."""
    inner = text[1:-1]
    return _ESCAPE.sub(rb"\1", inner) if b"\\" in inner else inner
