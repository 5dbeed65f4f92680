"""What structured fields are written in: comments, quoted strings, blanks.  RFC 5322 3.2.

Any octets give something, in time that grows with their number alone: what is opened and
never closed is text.  Senders put ISO 2022 into fields as it is (RFC 1468 1), whose octets
are those of quotes, parentheses and commas: such a run is letters.
"""
from __future__ import annotations

import re

# most fields have none of these
OPENS, CLOSES, PAIR, ESC, SO = b"()\\\x1b\x0e"
QUOTED = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.S)
_OPENS = re.compile(rb'\\.|["(]', re.S)
_IN_COMMENT = re.compile(rb"\\.|[()]", re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)
# what chooses a set of ISO 2022 that is not ASCII's kind, and what chooses one that is
_CHOOSES = rb"\x1b(?:\$[()*+]?[@-Z]|\(I)"
_RETURNS = rb"\x1b\([@-HJ-Z]"
# A run up to its end, if it has one: then the last group is there.  No set has blanks in it, but some
# senders do: none before an angle, which is an address behind a run that does not end.
_RUN = re.compile(rb"(?:%(chooses)s[!-~]*(?:[ ][^\x1b\n<]*)?)+(%(returns)s)?"
                  rb"|(%(returns)s|\x0e[^\x0e\x0f\n]*\x0f)" % {b"chooses": _CHOOSES, b"returns": _RETURNS})
_ENDLESS_RUN = re.compile(rb"%s[!-~]*?(?=[^!-~]|<[^<>\s]*@|\Z)" % _CHOOSES)
_RUN_OR_ESCAPE = re.compile(rb"(%s[^\x1b\n]*)|\\(.)" % _CHOOSES, re.S)
_AS_IT_STANDS = re.compile(rb"\x1b(?:\(I.*|\$[()*+]?[@-Z](?:[!-~]{2})*)\Z", re.S)


def lettered(value: bytes) -> bytes:
    """The same with an x for each octet of ISO 2022: all else stays at its place."""
    if ESC not in value and SO not in value:
        return value
    return _RUN.sub(_letters, value)


def _letters(run: re.Match[bytes]) -> bytes:
    return b"x" * len(run[0]) if run.lastindex else _ENDLESS_RUN.sub(_whole, run[0])


def _whole(run: re.Match[bytes]) -> bytes:
    return b"x" * len(run[0])


def comments(value: bytes) -> dict[int, int]:
    """Where each comment outside of quoted strings begins, and where it ends (behind its
    parenthesis).  Comments inside a comment are part of it."""
    if OPENS not in value or CLOSES not in value:
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
    """The same with blanks for the octets of comments and letters for those of ISO 2022: all else stays
    at its place."""
    value = lettered(value)
    if OPENS not in value:
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
    if PAIR not in inner:
        return inner
    return _RUN_OR_ESCAPE.sub(_unescaped, inner) if ESC in inner else _ESCAPE.sub(rb"\1", inner)


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Of a run of ISO 2022, or of a quoted pair, what it stands for."""
    run: bytes | None = match[1]
    if run is None:
        return bytes(match[2])
    # a backslash is half of a letter, or was put before the half that is a quote: then the halves are odd
    return run if _AS_IT_STANDS.match(run) else _ESCAPE.sub(rb"\1", run)
