"""What is known of a mailbox's changes, as values: which message changed with which MODSEQ, and which UIDs
were expunged.  RFC 7162 3.1, 3.2.  Their octets are those of the log (modseqlog.py); no file is read here.

Numbers are microseconds since 1970, or one more than the last where the clock is behind:
so numbers that a lost file gave, or that a crash took away, are not given again.
"""
from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from itertools import compress

from courierpy.model.messages import Messages
from courierpy.model.uidset import NO_UIDS, UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    Chain = tuple[int, array[int], "Chain | None"]

MOST = 2 ** 53 - 1                 # the largest number that clients keep which count in floating point
EXPUNGED_RUNS = 8192               # runs of UIDs that are remembered as expunged
PIECE = 512                        # numbers that are looked at one by one when some of them differ
_BASE = struct.Struct("=IIQQI")    # UIDVALIDITY, UIDNEXT, highest, horizon, expunged runs
_RECORD = struct.Struct("=QII")    # MODSEQ, UIDNEXT, expunged runs


def after(highest: int, looked: int) -> int:
    """The number of a change that was found by a look that began at ``looked``, nanoseconds since 1970: what
    happened behind that look is later than it.  ``highest``: the last number given."""
    when = looked // 1000
    return max(highest + 1, when if when < MOST else 1)


class Record:
    """One number given: ``modseq``.  ``gone``: UIDs that are no more.  ``states``: what the messages are
    now that are new or have changed.  ``uidnext``: of the mailbox then."""

    __slots__ = ("gone", "modseq", "states", "uidnext")

    def __init__(self, modseq: int, uidnext: int, gone: UidSet, states: Messages) -> None:
        self.modseq = modseq
        self.uidnext = uidnext
        self.gone = gone
        self.states = states

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and (self.modseq, self.uidnext, self.gone, self.states) == (
            other.modseq, other.uidnext, other.gone, other.states)

    __hash__ = None  # type: ignore[assignment]

    def pack(self) -> bytes:
        runs = array("I", [end for run in self.gone.runs for end in run])
        return (_RECORD.pack(self.modseq, self.uidnext, len(runs) // 2) + runs.tobytes()
                + self.states.pack())

    @classmethod
    def unpack(cls, data: memoryview) -> Record:
        """Raises ValueError."""
        try:
            modseq, uidnext, many = _RECORD.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        runs = _array("I", data, _RECORD.size, 2 * many)
        return cls(modseq, uidnext, UidSet(zip(runs[::2], runs[1::2], strict=True)),
                   Messages.unpack(data[_RECORD.size + 8 * many:]))


class Expunged:
    """Runs of UIDs that are no more, in the order of the MODSEQs that they went with.  Never changed once
    made.  All are known that went after ``horizon``."""

    __slots__ = ("_firsts", "_lasts", "_modseqs", "horizon")

    def __init__(self, horizon: int, modseqs: array[int] | None = None, firsts: array[int] | None = None,
                 lasts: array[int] | None = None) -> None:
        self.horizon = horizon
        self._modseqs = array("Q") if modseqs is None else modseqs
        self._firsts = array("I") if firsts is None else firsts
        self._lasts = array("I") if lasts is None else lasts

    def __len__(self) -> int:
        return len(self._modseqs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expunged) and (self.horizon, self._modseqs, self._firsts, self._lasts) == (
            other.horizon, other._modseqs, other._firsts, other._lasts)

    __hash__ = None  # type: ignore[assignment]

    def since(self, modseq: int) -> UidSet:
        """What went with a higher number, as far as it is remembered."""
        at = bisect_right(self._modseqs, modseq)
        return UidSet(sorted(zip(self._firsts[at:], self._lasts[at:], strict=True)))

    def and_then(self, modseq: int, gone: UidSet) -> Expunged:
        """With those that went now; the oldest are forgotten when they are too many."""
        runs = gone.runs
        modseqs = self._modseqs + array("Q", [modseq]) * len(runs)
        firsts = self._firsts + array("I", [first for first, _ in runs])
        lasts = self._lasts + array("I", [last for _, last in runs])
        horizon = self.horizon
        if len(modseqs) > EXPUNGED_RUNS:
            # a good part at once; and all that went with one number, as the horizon is one
            horizon = modseqs[len(modseqs) - EXPUNGED_RUNS * 3 // 4 - 1]
            first = bisect_right(modseqs, horizon)
            modseqs, firsts, lasts = modseqs[first:], firsts[first:], lasts[first:]
        return Expunged(horizon, modseqs, firsts, lasts)

    def pack(self) -> bytes:
        return self._modseqs.tobytes() + self._firsts.tobytes() + self._lasts.tobytes()

    @classmethod
    def unpack(cls, horizon: int, many: int, data: memoryview, at: int) -> Expunged:
        """``many`` runs at ``at``.  Raises ValueError."""
        return cls(horizon, _array("Q", data, at, many), _array("I", data, at + 8 * many, many),
                   _array("I", data, at + 12 * many, many))


class History:
    """What is known of a mailbox's changes.  Never changed once made.

    ``messages``: with their MODSEQs, in the state that these stand for.  ``highest``: the last number
    given (HIGHESTMODSEQ).  ``expunged``: what is no more.  ``latest``: a number, and what has changed since
    it: the last number with its UIDs, and what was before.
    """

    __slots__ = ("_changes", "_since", "expunged", "highest", "messages", "uidnext", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, highest: int, messages: Messages,
                 expunged: Expunged, latest: tuple[int, Chain | None] | None = None) -> None:
        self._since, self._changes = latest if latest is not None else (highest, None)
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.highest = highest
        self.messages = messages
        self.expunged = expunged

    @classmethod
    def begun(cls, uidvalidity: int, uidnext: int, messages: Messages, number: int) -> History:
        """Of a mailbox whose past nobody knows: all has one number, and what was expunged is unknown."""
        modseqs = array("Q", [number]) * len(messages)
        return cls(uidvalidity, uidnext, number,
                   Messages(messages.uids, messages.flags, messages.keywords, modseqs), Expunged(number))

    @property
    def modseqs(self) -> array[int]:
        """Of ``messages``."""
        modseqs = self.messages.modseqs
        assert modseqs is not None
        return modseqs

    def modseq(self, uid: int) -> int:
        """Of a message; that of the whole for one that is not there."""
        row = self.messages.find(uid)
        return self.modseqs[row] if row >= 0 else self.highest

    # -- growing

    def record(self, messages: Messages, uidnext: int, number: int) -> Record | None:
        """What has to be written down when ``messages`` is what is there; None for nothing.  ``number``: its
        MODSEQ.  A message that came and went since the last look counts as gone: its UID was given."""
        changes = messages.changed_since(self.messages)
        unseen = NO_UIDS
        if uidnext > self.uidnext:
            start = bisect_left(messages.uids, self.uidnext)
            unseen = UidSet([(self.uidnext, uidnext - 1)]) - UidSet.of(messages.uids[start:])
        if not changes and not unseen:
            return None
        uids = array("I", sorted(changes.new + changes.changed) if changes.new and changes.changed
                     else changes.new or changes.changed)
        rows = list(map(messages.find, uids))
        keywords = messages.keywords
        states = Messages(uids, bytes(map(messages.flags.__getitem__, rows)),
                          {uid: keywords[uid] for uid in uids if uid in keywords} if keywords else {})
        return Record(number, max(uidnext, self.uidnext), UidSet.of(changes.gone) | unseen, states)

    def risen(self, number: int) -> Record:
        """What has to be written down when ``number`` is that of a change of no message."""
        return Record(number, self.uidnext, NO_UIDS, Messages(array("I"), b"", {}))

    def followed(self, *records: Record) -> History:
        """With what records say, in their order.  A number that is not higher than the last one is taken for
        the next: order is what counts."""
        messages, expunged, highest, uidnext = self.messages, self.expunged, self.highest, self.uidnext
        uids, flags = messages.uids[:], bytearray(messages.flags)
        modseqs, keywords = self.modseqs[:], dict(messages.keywords)
        changes = self._changes
        for record in records:
            highest = max(record.modseq, highest + 1)
            uidnext = max(record.uidnext, uidnext)
            for first, last in reversed(record.gone.within(uids).runs if record.gone else ()):
                start, stop = bisect_left(uids, first), bisect_right(uids, last)
                for uid in uids[start:stop] if keywords else ():
                    keywords.pop(uid, None)
                del uids[start:stop], flags[start:stop], modseqs[start:stop]
            if record.gone:
                expunged = expunged.and_then(highest, record.gone)
            states = record.states
            for uid, bits in zip(states.uids, states.flags, strict=True):
                row = bisect_left(uids, uid)
                if row < len(uids) and uids[row] == uid:
                    flags[row], modseqs[row] = bits, highest
                else:                  # new, or one that was missed is back among the others
                    uids.insert(row, uid)
                    flags.insert(row, bits)
                    modseqs.insert(row, highest)
                if uid in states.keywords:
                    keywords[uid] = states.keywords[uid]
                elif keywords:
                    keywords.pop(uid, None)
            changes = highest, states.uids, changes
        if uids == messages.uids:
            uids = messages.uids       # once in memory
        return History(self.uidvalidity, uidnext, highest, Messages(uids, bytes(flags), keywords, modseqs),
                       expunged, (self._since, changes))

    def sharing(self, messages: Messages) -> History:
        """The same with the columns of ``messages``, which are equal, once in memory."""
        return History(self.uidvalidity, self.uidnext, self.highest,
                       Messages(messages.uids, messages.flags, messages.keywords, self.modseqs),
                       self.expunged, (self._since, self._changes))

    def agrees(self, messages: Messages, uidnext: int) -> bool:
        """Has all of this its number?"""
        mine = self.messages
        return uidnext <= self.uidnext and mine.flags == messages.flags and (
            mine.uids is messages.uids or mine.uids == messages.uids) and mine.keywords == messages.keywords

    # -- asking

    def changed_since(self, modseq: int) -> list[int]:
        """The UIDs of messages with a higher number, ascending."""
        if modseq >= self.highest:
            return []
        uids, modseqs = self.messages.uids, self.modseqs
        found: list[int] = []
        if modseq >= self._since:      # no need to look at all of them
            changes = self._changes
            some: set[int] = set()
            while changes is not None and changes[0] > modseq:
                some.update(changes[1])
                changes = changes[2]
            return [uid for uid in sorted(some) if self.messages.find(uid) >= 0]
        for start in range(0, len(uids), PIECE):
            numbers = modseqs[start:start + PIECE]
            if numbers[1:] != numbers[:-1]:
                found += compress(uids[start:start + PIECE], map(modseq.__lt__, numbers))
            elif numbers[0] > modseq:      # they came together
                found += uids[start:start + PIECE]
        return found

    def vanished_since(self, modseq: int, asked: UidSet) -> UidSet:
        """Those of the UIDs ``asked`` that were given and are no more, and went after ``modseq``; where that
        is before all that is remembered, whenever they went.  RFC 7162 3.2.6."""
        if modseq >= self.highest:
            return NO_UIDS
        given = asked - UidSet([(self.uidnext, 0xFFFFFFFF)])
        if modseq >= self.expunged.horizon:
            went = self.expunged.since(modseq)
            given = went - (went - given)
        return given - UidSet.of(self.messages.uids)

    # -- the codec

    def pack(self) -> bytes:
        return b"".join((_BASE.pack(self.uidvalidity, self.uidnext, self.highest, self.expunged.horizon,
                                    len(self.expunged)), self.expunged.pack(), self.messages.pack()))

    @classmethod
    def unpack(cls, data: memoryview) -> History:
        """Raises ValueError."""
        try:
            uidvalidity, uidnext, highest, horizon, many = _BASE.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        expunged = Expunged.unpack(horizon, many, data, _BASE.size)
        messages = Messages.unpack(data[_BASE.size + 16 * many:])
        if messages.modseqs is None:
            raise ValueError("no MODSEQs")
        return cls(uidvalidity, uidnext, highest, messages, expunged)


def _array(typecode: str, data: memoryview, at: int, many: int) -> array[int]:
    """``many`` numbers at this place.  Raises ValueError where there are not so many."""
    found = array(typecode)
    octets = data[at:at + many * found.itemsize]
    if len(octets) != many * found.itemsize:
        raise ValueError("a column is cut")
    found.frombytes(octets)
    return found
