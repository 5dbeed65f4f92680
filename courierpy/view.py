"""What one client was told of the selected mailbox, and what it was not told yet.

A ``View`` is the client's picture: UIDs in sequence order with the flags it
last heard.  A ``Snapshot`` is what the folder holds now.  ``compare`` is the
pure function between the two; ``sync`` decides what of it may be said.
"""
from __future__ import annotations

from array import array
from bisect import bisect_left

from courierpy.kinds import NO_KEYWORDS, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


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
    """The difference, as lists of UIDs.  Pure; neither side is changed."""
    if view.uids == snapshot.uids:
        if view.flags == snapshot.flags and view.keywords == snapshot.keywords:
            return NOTHING
        return Changes(changed=_changed(view, snapshot, view.uids))
    told, held = set(view.uids), set(snapshot.uids)
    gone = sorted(told - held)
    new = sorted(held - told)
    both = [uid for uid in view.uids if uid in held] if gone else view.uids
    return Changes(gone, new, _changed(view, snapshot, both))


def _changed(view: View, snapshot: Snapshot, uids: Iterable[int]) -> list[int]:
    before = dict(zip(view.uids, view.flags, strict=True))
    now = dict(zip(snapshot.uids, snapshot.flags, strict=True))
    old, new = view.keywords, snapshot.keywords
    if old == new:
        return [uid for uid in uids if before[uid] != now[uid]]
    return [uid for uid in uids
            if before[uid] != now[uid] or old.get(uid, NO_KEYWORDS) != new.get(uid, NO_KEYWORDS)]


class View:
    """The messages this client knows: sequence number n is ``uids[n - 1]``."""

    __slots__ = ("flags", "keywords", "recent", "uids")

    def __init__(self) -> None:
        self.uids: array[int] = array("I")
        self.flags = bytearray()
        self.keywords: dict[int, frozenset[bytes]] = {}
        self.recent: set[int] = set()

    @classmethod
    def of(cls, snapshot: Snapshot) -> View:
        """The view of a client that is told all of ``snapshot``."""
        view = cls()
        view.uids = array("I", snapshot.uids)
        view.flags = bytearray(snapshot.flags)
        view.keywords = dict(snapshot.keywords)
        view.recent = set(snapshot.recent)
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

    def expunge(self, uid: int) -> int:
        """Forget ``uid``; gives the sequence number that it had."""
        seq = self.seq(uid)
        del self.uids[seq - 1]
        del self.flags[seq - 1]
        self.keywords.pop(uid, None)
        self.recent.discard(uid)
        return seq

    def add(self, uid: int, bits: int, words: frozenset[bytes], recent: bool) -> int:
        """A message that the client is told of now.  UIDs only grow."""
        self.uids.append(uid)
        self.flags.append(bits)
        if words:
            self.keywords[uid] = words
        if recent:
            self.recent.add(uid)
        return len(self.uids)

    def set(self, seq: int, bits: int, words: frozenset[bytes]) -> None:
        uid = self.uids[seq - 1]
        self.flags[seq - 1] = bits
        if words:
            self.keywords[uid] = words
        else:
            self.keywords.pop(uid, None)

    def seqs_in(self, ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
        """Sequence numbers of the ascending ``ranges`` of sequence numbers."""
        count = len(self.uids)
        for low, high in ranges:
            yield from range(low, min(high, count) + 1)

    def seqs_of_uids(self, ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
        """Sequence numbers of the known UIDs in the ascending ``ranges``."""
        uids = self.uids
        for low, high in ranges:
            start = bisect_left(uids, low)
            stop = bisect_left(uids, high + 1, start) if high < 0xFFFFFFFF else len(uids)
            yield from range(start + 1, stop + 1)


def keywords_used(keywords: Mapping[int, frozenset[bytes]]) -> list[bytes]:
    """The keywords of a folder, each once, in a stable order."""
    if not keywords:
        return []
    return sorted(frozenset().union(*keywords.values()))
