"""QRESYNC.  RFC 7162 3.2: a client that was away hears in one answer what it missed.

VANISHED (EARLIER) comes from the log of the mailbox where that reaches back, and otherwise says
all UIDs that the client asks about and that are not there.
"""
from __future__ import annotations

from bisect import bisect_right
from itertools import islice

from courierpy.imap import modseqs
from courierpy.imap.commands.numbers import saved
from courierpy.imap.ext import Extension
from courierpy.imap.fetch import Modifier
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.numset import STAR, compact_runs
from courierpy.imap.updates import Arrived, Expunged, Said, Sizes, Vanished
from courierpy.model.replies import Bad, UidRequired
from courierpy.model.uidset import UidSet, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from courierpy.imap.fetch import Fetching
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.numset import NumSet
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update

TOKEN = b"QRESYNC"
LINES = 1000                   # that are made together
Pairs = tuple[tuple[int, int, int], ...]       # sequence number, UID, and how many follow with one more each


def _need_enabled(session: Session) -> None:
    """RFC 7162 3.2.3.  Raises Bad."""
    if TOKEN not in session.enabled:
        raise Bad("ENABLE QRESYNC has to come first.")


# -- what is told unasked

def _rewritten(session: Session, said: list[Update]) -> list[Update]:
    """VANISHED in place of EXPUNGE, and EXISTS only where there is more.  What the numbers that the client
    is told stand for is said where it would not know: after a VANISHED, and as long as one is held
    back, so that it does not believe to be further than it is (RFC 7162 3.2, 6)."""
    selected = session.need_selected()
    found = modseqs.find(selected)
    if found is None:
        return said
    arrived = any(isinstance(update, Arrived) for update in said)
    expunged = any(isinstance(update, Expunged) for update in said)
    told: list[Update] = [Vanished(update.uids) if isinstance(update, Expunged) else update
                          for update in said if arrived or not isinstance(update, Sizes)]
    if expunged:
        told.append(Said(modseqs.highest(found.history.highest)))
    elif said and selected.snapshot.messages.changed_since(selected.view.messages).gone:
        told.append(Said(modseqs.highest(max(1, found.told))))
    return told


def _tagged(session: Session) -> bytes | None:
    """For EXPUNGE, UID EXPUNGE and MOVE.  RFC 7162 3.2.7, 3.2.9."""
    selected = session.need_selected()
    found = modseqs.find(selected)
    if TOKEN not in session.enabled or found is None or not found.told:
        return None
    return b"HIGHESTMODSEQ %d" % found.told


def _earlier(session: Session, uids: UidSet) -> None:
    """VANISHED (EARLIER), if there is anything.  Messages that the client still has a number for are told
    otherwise, later."""
    gone = uids - UidSet.of(session.need_selected().view.uids)
    if gone:
        session.write_long(lines.long_data(b"VANISHED", b"(EARLIER)", compact_runs(gone.runs)))


# -- UID FETCH

def _vanished(session: Session, args: Args) -> Modifier:
    """RFC 7162 3.2.6."""
    def check(fetching: Fetching) -> None:
        _need_enabled(fetching.session)
        if not fetching.by_uid or b"CHANGEDSINCE" not in fetching.modifiers:
            raise Bad("VANISHED belongs to UID FETCH with CHANGEDSINCE.")

    def stay(fetching: Fetching, seqs: list[int]) -> list[int]:
        found = modseqs.find(fetching.session.need_selected())
        assert found is not None
        history = found.history
        # the last message may be one of those: * reaches to the last UID that was given
        asked = UidSet(fetching.numbers.resolve(history.uidnext - 1))
        if fetching.numbers.saved:
            asked |= saved(fetching.session)
        _earlier(fetching.session, history.vanished_since(fetching.modifiers[b"CHANGEDSINCE"].value, asked))
        return seqs
    return Modifier(b"VANISHED", stay, check=check)


def _items(session: Session) -> tuple[bytes, ...]:
    selected = session.need_selected()
    return (b"UID",) if selected.view.numbered and modseqs.find(selected) is not None else ()


# -- SELECT

def _select(session: Session, args: Args) -> Callable[[Session, Selected], bytes]:
    """``QRESYNC (uidvalidity modseq [known-uids] [(sequence-set uid-set)])``.  RFC 7162 3.2.5, 7."""
    args.sp()
    args.open()
    args.maybe_sp()
    uidvalidity = args.number()
    args.sp()
    since = modseqs.number(args)
    known: NumSet | None = None
    pairs: Pairs = ()
    if args.maybe_sp() and not args.at(b"(") and not args.at(b")"):
        known = _without_star(args)
        args.maybe_sp()
    if args.at(b"("):
        args.open()
        args.maybe_sp()
        seqs = _without_star(args)
        args.sp()
        pairs = _paired(seqs, _without_star(args))
        if not session.manners.numbered:
            raise UidRequired
        args.close()
    args.close()
    _need_enabled(session)

    def resync(session: Session, selected: Selected) -> bytes:
        found = modseqs.find(selected)
        if found is None or uidvalidity != selected.snapshot.uidvalidity:
            return b""                 # as if nothing had changed
        history = found.history
        asked = UidSet(known.resolve(0)) if known is not None else \
            UidSet([(1, history.uidnext - 1)] if history.uidnext > 1 else ())
        sure = _matching(selected.view.uids, pairs)
        gone = history.vanished_since(since, asked)
        _earlier(session, gone - UidSet([(1, sure)]) if sure else gone)
        _tell(session, selected, UidSet.of(history.changed_since(since)), asked)
        return b""
    return resync


def _without_star(args: Args) -> NumSet:
    numbers = args.numset()
    if any(STAR in run for run in numbers.ranges):
        raise Bad("QRESYNC names no message by *.")
    return numbers


def _paired(seqs: NumSet, uids: NumSet) -> Pairs:
    """What stands for what, in both sets.  Raises Bad where they do not ascend or are not of one length."""
    for numbers in (seqs, uids):
        last = 0
        for low, high in numbers.ranges:
            if not last < low <= high:
                raise Bad("Message sequence match data has to ascend.")
            last = high
    if sum(high - low for low, high in seqs.ranges) + len(seqs.ranges) != \
            sum(high - low for low, high in uids.ranges) + len(uids.ranges):
        raise Bad("Message sequence match data needs a UID for each number.")
    return tuple(_pieces(seqs, uids))


def _pieces(seqs: NumSet, uids: NumSet) -> Iterator[tuple[int, int, int]]:
    left, right = iter(seqs.ranges), iter(uids.ranges)
    seq, seq_end, uid, uid_end = 1, 0, 1, 0
    while True:
        if seq > seq_end:
            seq, seq_end = next(left, (0, 0))
        if uid > uid_end:
            uid, uid_end = next(right, (0, 0))
        if not seq or not uid:
            return
        many = min(seq_end - seq, uid_end - uid)
        yield seq, uid, many
        seq, uid = seq + many + 1, uid + many + 1


def _matching(uids: Sequence[int], pairs: Pairs) -> int:
    """The highest UID that the client knows under its number: what is gone below it, it knows too, as the
    numbers would not be the same.  0 without one.  RFC 7162 3.2.5.2."""
    for seq, uid, many in reversed(pairs):
        # within a piece UID less number never falls
        rows = range(seq - 1, min(seq + many, len(uids)))
        at = bisect_right(rows, uid - seq, key=lambda row: uids[row] - row - 1) - 1
        if at >= 0 and uids[rows[at]] == uid + at:
            return uid + at
    return 0


def _tell(session: Session, selected: Selected, changed: UidSet, asked: UidSet) -> None:
    """FETCH lines of the messages that have changed."""
    view = selected.view
    uids = iter(changed - (changed - asked))
    while some := list(islice(uids, LINES)):
        numbers = view.messages.modseqs
        assert numbers is not None
        rows = {uid: row for uid, row in zip(some, places(view.uids, some), strict=True) if row >= 0}
        session.write(modseqs.flag_lines(view, {uid: view.messages.state(uid) for uid in rows},
                                         map(numbers.__getitem__, rows.values())))


EXTENSION = Extension(
    TOKEN,
    enable={TOKEN: modseqs.turn_on},
    select_params={TOKEN: _select},
    on_updates={TOKEN: _rewritten},
    fetch_besides={TOKEN: _items},
    fetch_modifiers={b"VANISHED": _vanished},
    tagged_code={b"EXPUNGE": _tagged})
