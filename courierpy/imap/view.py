"""What one client was told of the selected mailbox, and what it was not told yet.

A ``View`` is the client's picture: UIDs in sequence order with the flags it
last heard.  A ``Snapshot`` is what the folder holds now.  ``compare`` is the
pure function between the two; ``sync`` decides what of it may be said.
"""
from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import compress
from operator import ne

from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.uidset import NO_UIDS, UidSet, runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from courierpy.model.messages import Snapshot


class Changes:
    """What a Snapshot has that a View has not.

    ``gone``: UIDs that were told and are no more, ascending.  ``new``: UIDs
    that were not told yet, ascending.  ``changed``: told UIDs whose flags or
    keywords are others now, ascending.
    """

    __slots__ = ("changed", "gone", "new")

    def __init__(self, gone: Sequence[int] = (), new: Sequence[int] = (),
                 changed: Sequence[int] = ()) -> None:
        self.gone = list(gone)
        self.new = list(new)
        self.changed = list(changed)

    def __bool__(self) -> bool:
        return bool(self.gone or self.new or self.changed)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Changes) and
                (self.gone, self.new, self.changed) == (other.gone, other.new, other.changed))

    def __repr__(self) -> str:
        return f"Changes(gone={self.gone}, new={self.new}, changed={self.changed})"


NOTHING = Changes()


def compare(view: View, snapshot: Snapshot) -> Changes:
    """The difference, as lists of UIDs.  Pure; neither side is changed.

    Long runs that are the same are compared as bytes, and only what differs is looked
    at one by one: a change in a large folder costs little more than in a small one.
    """
    told, held = view.uids, snapshot.uids
    gone: list[int] = []
    new: list[int] = []
    changed: list[int] = []
    here = there = 0
    while here < len(told) or there < len(held):
        count = len(held) if told is held else _same(told, here, held, there)
        if count:
            changed += [told[here + at] for at in _differing(view.flags[here:here + count],
                                                             snapshot.flags[there:there + count])]
            here, there = here + count, there + count
        elif there == len(held) or here < len(told) and told[here] < held[there]:
            gone.append(told[here])
            here += 1
        else:
            new.append(held[there])
            there += 1
    if view.keywords != snapshot.keywords:
        others = {uid for uid, _ in view.keywords.items() ^ snapshot.keywords.items()}
        changed = sorted(others.difference(gone, new).union(changed))
    return Changes(gone, new, changed) if gone or new or changed else NOTHING


PIECE = 512                        # flags that are looked at one by one when some of them differ


def _same(one: array[int], at: int, two: array[int], start: int) -> int:
    """How many UIDs are the same from these places on."""
    most = min(len(one) - at, len(two) - start)
    low, step = 0, 16
    while low < most:                  # longer and longer runs, then halves of the last one
        high = min(low + step, most)
        if one[at + low:at + high] != two[start + low:start + high]:
            break
        low, step = high, 4 * step
    else:
        return most
    while high - low > 1:
        middle = (low + high) // 2
        if one[at + low:at + middle] == two[start + low:start + middle]:
            low = middle
        else:
            high = middle
    return low


def _differing(one: bytes | bytearray, two: bytes) -> list[int]:
    """The places where two runs of equal length differ."""
    if one == two:
        return []
    found: list[int] = []
    for start in range(0, len(two), PIECE):
        old, now = one[start:start + PIECE], two[start:start + PIECE]
        if old != now:
            found += compress(range(start, start + len(now)), map(ne, old, now))
    return found


class View:
    """The messages this client knows: sequence number n is ``uids[n - 1]``.

    A client that knows all UIDs of a snapshot shares its array.
    """

    __slots__ = ("_shares", "flags", "keywords", "recent", "uids")

    def __init__(self) -> None:
        self.uids: array[int] = array("I")
        self._shares = False
        self.flags = bytearray()
        self.keywords: dict[int, frozenset[bytes]] = {}
        self.recent = NO_UIDS

    @classmethod
    def of(cls, snapshot: Snapshot) -> View:
        """The view of a client that is told all of ``snapshot``."""
        view = cls()
        view.share(snapshot)
        view.flags = bytearray(snapshot.flags)
        view.keywords = dict(snapshot.keywords)
        view.recent = snapshot.recent
        return view

    def __len__(self) -> int:
        return len(self.uids)

    def seq(self, uid: int) -> int:
        """The sequence number of ``uid``; 0 when the client does not know it."""
        at = bisect_left(self.uids, uid)
        return at + 1 if at < len(self.uids) and self.uids[at] == uid else 0

    def bits(self, seq: int) -> int:
        return self.flags[seq - 1]

    def words(self, uid: int) -> frozenset[bytes]:
        return self.keywords.get(uid, NO_KEYWORDS)

    def share(self, snapshot: Snapshot) -> None:
        """The UIDs are those of ``snapshot``."""
        self.uids = snapshot.uids
        self._shares = True

    def _own(self) -> None:
        """The UIDs are about to become others than those of any snapshot."""
        if self._shares:
            self.uids = self.uids[:]
            self._shares = False

    def expunge(self, uids: Sequence[int]) -> list[int]:
        """Forget these, which ascend; gives the sequence number that each had when those
        before it were forgotten."""
        rows = [self.seq(uid) - 1 for uid in uids]
        self._own()
        for first, last in reversed(runs(rows)):
            del self.uids[first:last + 1]
            del self.flags[first:last + 1]
        for uid in uids if self.keywords else ():
            self.keywords.pop(uid, None)
        self.recent -= UidSet.of(uids)
        return [row + 1 - before for before, row in enumerate(rows)]

    def add(self, uid: int, bits: int, words: frozenset[bytes]) -> int:
        """A message that the client is told of now.  UIDs only grow."""
        self._own()
        self.uids.append(uid)
        self.flags.append(bits)
        if words:
            self.keywords[uid] = words
        return len(self.uids)

    def set(self, seq: int, bits: int, words: frozenset[bytes]) -> None:
        uid = self.uids[seq - 1]
        self.flags[seq - 1] = bits
        if words:
            self.keywords[uid] = words
        else:
            self.keywords.pop(uid, None)

    def seqs_in(self, ranges: Iterable[tuple[int, int]]) -> list[int]:
        """Sequence numbers of the ascending ``ranges`` of sequence numbers."""
        count = len(self.uids)
        found: list[int] = []
        for low, high in ranges:
            found += range(low, min(high, count) + 1)
        return found

    def seqs_of_uids(self, ranges: Iterable[tuple[int, int]]) -> list[int]:
        """Sequence numbers of the known UIDs in the ascending ``ranges``."""
        uids = self.uids
        found: list[int] = []
        for low, high in ranges:
            start = bisect_left(uids, low)
            stop = bisect_left(uids, high + 1, start) if high < 0xFFFFFFFF else len(uids)
            found += range(start + 1, stop + 1)
        return found


def keywords_used(keywords: Mapping[int, frozenset[bytes]]) -> list[bytes]:
    """The keywords of a folder, each once, in a stable order."""
    if not keywords:
        return []
    return sorted(frozenset().union(*set(keywords.values())))
