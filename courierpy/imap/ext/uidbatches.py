"""UIDBATCHES.  RFC 10022: the UIDs of the selected mailbox in ranges of so many messages each, highest first.

A client that takes a large mailbox piece by piece learns the pieces at once.  The ranges lie end to end:
the first begins at the highest UID, the last ends in 1.
"""
from __future__ import annotations

import re

from courierpy.imap.commands import READS, SELECTED, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

_RANGE = re.compile(rb"(\d{1,10}):(\d{1,10})")
AT_ONCE = 1000                     # ranges that are made together


@command(b"UIDBATCHES", when=SELECTED, flags=READS, rights="r")
def uid_batches(session: Session, args: Args) -> str:
    """``UIDBATCHES size [first:last]``: ``first`` and ``last`` count the batches from 1."""
    args.sp()
    size = args.number()
    first, last = 1, None
    if args.more():
        first, last = map(int, args.take(_RANGE).split(b":"))
    args.end()
    if not size or not first or last is not None and last < first:
        raise Bad("A batch has at least one message, and batches are counted upwards from 1.", b"CLIENTBUG")

    uids = session.need_selected().view.uids
    session.write_long(lines.long_data(b"UIDBATCHES", b"(TAG %s)" % out.quoted(args.tag),
                                       _ranges(uids, size, first, last)))
    return "UIDBATCHES completed."


def _ranges(uids: Sequence[int], size: int, first: int, last: int | None) -> Iterator[bytes]:
    """Batches ``first`` to ``last`` of ``size`` messages, with commas between."""
    count = len(uids)
    there = -(-count // size)
    stop = there if last is None else min(last, there)
    for start in range(first, stop + 1, AT_ONCE):
        some = [_range(uids, size, batch, batch == there)
                for batch in range(start, min(start + AT_ONCE, stop + 1))]
        yield (b"," if start > first else b"") + b",".join(some)


def _range(uids: Sequence[int], size: int, batch: int, is_last: bool) -> bytes:
    above = len(uids) - (batch - 1) * size         # row of the lowest message of the batch before
    high = uids[-1] if batch == 1 else uids[above] - 1
    low = 1 if is_last else uids[above - size]
    return b"%d:%d" % (high, low) if high > low else b"%d" % low


EXTENSION = Extension(b"UIDBATCHES")
