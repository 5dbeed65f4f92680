"""PARTIAL.  RFC 9394, RFC 5267 4.4: some of what is found, counted from the first or from the last."""
from __future__ import annotations

import re

from courierpy.imap.ext import Extension
from courierpy.imap.fetch import Modifier
from courierpy.imap.grammar.args import ERROR, Args
from courierpy.imap.grammar.numset import MAX_NUMBER, compact_pieces
from courierpy.imap.returns import Found, SearchReturn, numbers
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from courierpy.imap.session import Session

_RANGE = re.compile(rb"([1-9]\d{0,9}):([1-9]\d{0,9})|-([1-9]\d{0,9}):-([1-9]\d{0,9})")


class _Range:
    """``word``: as the client wrote it."""

    __slots__ = ("backwards", "high", "low", "word")

    def __init__(self, args: Args) -> None:
        """Raises Bad."""
        args.sp()
        self.word = args.take(_RANGE)
        self.backwards = self.word.startswith(b"-")
        self.low, self.high = sorted(int(number.lstrip(b"-")) for number in self.word.split(b":"))
        if self.high > MAX_NUMBER:
            raise Bad(ERROR)

    def of(self, seqs: Sequence[int]) -> Sequence[int]:
        """Those in the range, in their order."""
        if self.backwards:
            return seqs[max(0, len(seqs) - self.high):max(0, len(seqs) - self.low + 1)]
        return seqs[self.low - 1:self.high]


def _part(found: Found, value: _Range) -> Sequence[int]:
    return value.of(found.seqs)


def _tell(found: Found, value: _Range) -> Iterator[bytes]:
    some = numbers(found.session, value.of(found.seqs), found.by_uid)
    yield b"(%s " % value.word
    yield from compact_pieces(some) if some else (b"NIL",)
    yield b")"


def _fetch(session: Session, args: Args) -> Modifier:
    """RFC 9394 3.3."""
    if args.command != b"UID FETCH":
        raise Bad("PARTIAL belongs to UID FETCH.")
    some = _Range(args)
    return Modifier(b"PARTIAL", lambda fetching, seqs: [*some.of(seqs)], chooses=True)


EXTENSION = Extension(b"PARTIAL", fetch_modifiers={b"PARTIAL": _fetch}, search_returns={
    b"PARTIAL": SearchReturn(_tell, _Range, _part, not_beside=(b"ALL", b"PARTIAL"), lists=True)})
