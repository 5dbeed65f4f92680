"""The base subject: what SORT and THREAD compare.  RFC 5256 2.1, 5.

The steps are the RFC's; positions move instead of copies, so that a subject of
any length costs one look at each character.
"""
from __future__ import annotations

import re

_SPACE = re.compile(r"\s+")
_BLOB = re.compile(r"\[[^\[\]]*\][ \t]*")
_REFWD = re.compile(r"(?:re|fwd?)[ \t]*(?:\[[^\[\]]*\][ \t]*)?:", re.I | re.A)
_FWD = re.compile(r"\[fwd:", re.I | re.A)


def base(subject: str) -> tuple[str, bool]:
    """(base subject of a decoded Subject, was something of a reply or forward removed)."""
    text = _SPACE.sub(" ", subject)                        # (1)
    start, end = 0, len(text)
    reply = False
    while True:
        end, forwarded = _trailer(text, start, end)        # (2)
        start, answered = _leader(text, start, end)        # (3) to (5)
        reply = reply or forwarded or answered
        if not (_FWD.match(text, start, end) and text[end - 1] == "]"):
            return text[start:end], reply
        start, end, reply = start + 5, end - 1, True       # (6)


def _trailer(text: str, start: int, end: int) -> tuple[int, bool]:
    """Where the subject ends without blanks and ``(fwd)`` behind it."""
    found = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif end - start >= 5 and text[end - 5:end].lower() == "(fwd)":
            end -= 5
            found = True
        else:
            break
    return end, found


def _leader(text: str, start: int, end: int) -> tuple[int, bool]:
    """Where it begins without blanks, ``Re:``, ``Fwd:`` and ``[blobs]`` before it."""
    found = False
    while True:
        while start < end and text[start] == " ":
            start += 1
        at = last = start
        while blob := _BLOB.match(text, at, end):
            last, at = at, blob.end()
        refwd = _REFWD.match(text, at, end)
        if refwd is not None:
            start = refwd.end()
            found = True
            continue
        # blobs go as long as something is left behind them
        return (at if at < end else last), found
