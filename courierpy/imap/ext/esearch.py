"""ESEARCH.  RFC 4731: SEARCH RETURN (MIN MAX ALL COUNT)."""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.grammar.numset import compact


def _min(found: list[int]) -> bytes | None:
    return b"%d" % found[0] if found else None


def _max(found: list[int]) -> bytes | None:
    return b"%d" % found[-1] if found else None


def _all(found: list[int]) -> bytes | None:
    return compact(found) if found else None


def _count(found: list[int]) -> bytes:
    return b"%d" % len(found)


EXTENSION = Extension(b"ESEARCH", search_returns={b"MIN": _min, b"MAX": _max, b"ALL": _all, b"COUNT": _count})
