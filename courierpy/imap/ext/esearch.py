"""ESEARCH.  RFC 4731: SEARCH RETURN (MIN MAX ALL COUNT)."""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.grammar.numset import compact_pieces
from courierpy.imap.returns import Found, SearchReturn, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _min(found: Found, value: None) -> bytes | None:
    return _number(found, found.seqs[:1])


def _max(found: Found, value: None) -> bytes | None:
    return _number(found, found.seqs[-1:])


def _number(found: Found, one: Sequence[int]) -> bytes | None:
    """What the client is told of the one message, if there is one."""
    return b"%d" % numbers(found.session, one, found.by_uid)[0] if one else None


def _first(found: Found, value: None) -> Sequence[int]:
    return found.seqs[:1]


def _last(found: Found, value: None) -> Sequence[int]:
    return found.seqs[-1:]


def _all(found: Found, value: None) -> Iterator[bytes] | None:
    return compact_pieces(found.numbers) if found.seqs else None


def _count(found: Found, value: None) -> bytes:
    return b"%d" % len(found.seqs)


EXTENSION = Extension(b"ESEARCH", search_returns={
    b"MIN": SearchReturn(_min, part=_first), b"MAX": SearchReturn(_max, part=_last),
    b"ALL": SearchReturn(_all, lists=True), b"COUNT": SearchReturn(_count)})
