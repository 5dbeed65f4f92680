"""The messages of a mailbox at one moment, as columns; and how two such moments differ.

One value for who looks (a snapshot), for what a client knows (a view), for what is
kept in the index and in the record of a session that sleeps.  Pure.
"""
from __future__ import annotations

import struct
import sys
from _weakref import ref  # weakref has a dozen of kinds more, and sessions begin without it
from array import array
from bisect import bisect_left
from itertools import compress, count, pairwise, repeat
from operator import eq, lt, ne
from operator import sub as minus

from courierpy.model import fresh
from courierpy.model.flags import IS_DELETED, NO_KEYWORDS
from courierpy.model.uidset import places, runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from courierpy.model.uidset import UidSet

    State = tuple[int, frozenset[bytes]]       # flag bits and keywords of a message
    Keywords = Mapping[int, frozenset[bytes]]

_generations = count(1)
_HEAD = struct.Struct("=BIII")                 # form, messages, octets of the UIDs and of the keywords
_FLAGS = bytes(range(32))                      # what an octet of flag bits can be
_RUNS, _MODSEQS = 1, 2                         # bits of the form: UIDs as runs; a column of MODSEQs
FEW_RUNS = 64                                  # so many messages in a run, on average, make runs worth it
ROWS = 4096                                    # UIDs whose gaps are counted one by one where there is one
PIECE = 512                                    # flags that are looked at one by one when some of them differ


class Messages:
    """Columns by message, in the order of their UIDs.  Never changed once made.

    ``uids``: array("I"), ascending.  ``flags``: an octet of flag bits each.  ``keywords``: UID ->
    frozenset of keywords, only for messages that have some.  ``modseqs``: array("Q") of MODSEQs
    (RFC 7162 3.1), or None where nobody asked for them.  ``generation``: no two values with
    different columns have the same one, in this process.
    """

    __slots__ = ("flags", "generation", "keywords", "modseqs", "uids")

    def __init__(self, uids: array[int], flags: bytes, keywords: Keywords,
                 modseqs: array[int] | None = None) -> None:
        self.uids = uids
        self.flags = flags
        self.keywords = keywords
        self.modseqs = modseqs
        self.generation = next(_generations)

    def __len__(self) -> int:
        return len(self.uids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Messages):
            return False
        return self.generation == other.generation or (
            self.flags == other.flags and (self.uids is other.uids or self.uids == other.uids)
            and self.keywords == other.keywords
            and self.modseqs == other.modseqs)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Messages({list(self.uids)!r}, {self.flags!r}, {dict(self.keywords)!r}, {self.modseqs!r})"

    def find(self, uid: int) -> int:
        """The row of a UID, from 0; -1 for one that is not there."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def state(self, uid: int) -> State:
        """Flag bits and keywords of a message that is there."""
        return self.flags[bisect_left(self.uids, uid)], self.keywords.get(uid, NO_KEYWORDS)

    # -- others, made of this one

    def deleted(self) -> list[int]:
        """The UIDs of messages that are \\Deleted.  Mostly there are none, and no row is looked at."""
        marks = self.flags.translate(IS_DELETED)
        return list(compress(self.uids, marks)) if 1 in marks else []

    def without(self, rows: Sequence[int]) -> Messages:
        """Without these rows, which ascend."""
        uids, flags = self.uids[:], bytearray(self.flags)
        modseqs = self.modseqs[:] if self.modseqs is not None else None
        for first, last in reversed(runs(rows)):
            del uids[first:last + 1]
            del flags[first:last + 1]
            if modseqs is not None:
                del modseqs[first:last + 1]
        keywords = self.keywords
        if keywords:
            gone = {self.uids[row] for row in rows}
            keywords = {uid: words for uid, words in keywords.items() if uid not in gone}
        return Messages(uids, bytes(flags), keywords, modseqs)

    def extended(self, states: Mapping[int, State]) -> Messages:
        """With messages behind those that are there: UID -> flags and keywords, ascending.  Their
        MODSEQ is 0, which is none."""
        uids = self.uids[:]
        uids.extend(states)
        keywords = {uid: words for uid, (_, words) in states.items() if words}
        modseqs = self.modseqs + array("Q", bytes(8 * len(states))) if self.modseqs is not None else None
        return Messages(uids, self.flags + bytes([bits for bits, _ in states.values()]),
                        {**self.keywords, **keywords} if keywords else self.keywords, modseqs)

    def changed(self, states: Mapping[int, State]) -> Messages:
        """With other flags and keywords of messages that are there, by UID."""
        flags, keywords = bytearray(self.flags), self.keywords
        worded = bool(keywords)
        for row, (bits, words) in zip(places(self.uids, [*states]), states.values(), strict=True):
            flags[row] = bits
            worded = worded or bool(words)
        if worded:
            others = {uid: words for uid, (_, words) in states.items()
                      if words != keywords.get(uid, NO_KEYWORDS)}
            if others:
                keywords = {**keywords, **others}
                for uid, words in others.items():
                    if not words:
                        del keywords[uid]
        return Messages(self.uids, bytes(flags), keywords, self.modseqs)

    def numbered(self, modseqs: Mapping[int, int]) -> Messages:
        """With other MODSEQs of messages that are there, by UID."""
        mine = array("Q", self.modseqs if self.modseqs is not None else bytes(8 * len(self.uids)))
        for row, modseq in zip(places(self.uids, [*modseqs]), modseqs.values(), strict=True):
            mine[row] = modseq
        return Messages(self.uids, self.flags, self.keywords, mine)

    def restamped(self, other: Messages) -> Messages:
        """With the MODSEQs of ``other``, where that has the message."""
        theirs = zip(other.uids, other.modseqs or (), strict=False)
        return self.numbered({uid: modseq for uid, modseq in theirs if self.find(uid) >= 0})

    def changed_since(self, other: Messages) -> Changes:
        """What happened between ``other``, which was before, and this one.

        Long runs that are the same are compared as octets, and only what differs is looked
        at one by one: a change in a large mailbox costs little more than in a small one.  A message
        with another MODSEQ has changed too, where both have them.
        """
        old, now = other.uids, self.uids
        if self.generation == other.generation or old is now and self == other:
            return NOTHING
        gone: list[int] = []
        new: list[int] = []
        changed: list[int] = []
        others: set[int] = set()
        here = there = 0
        while here < len(old) or there < len(now):
            many = len(now) if old is now else _same(old, here, now, there)
            if many:
                changed += [old[here + at] for at in _differing(other.flags[here:here + many],
                                                                self.flags[there:there + many])]
                if other.modseqs is not None and self.modseqs is not None:
                    numbers = other.modseqs[here:here + many], self.modseqs[there:there + many]
                    if numbers[0] != numbers[1]:
                        others.update(compress(old[here:here + many], map(ne, *numbers)))
                here, there = here + many, there + many
            elif there == len(now) or here < len(old) and old[here] < now[there]:
                stop = bisect_left(old, now[there], here) if there < len(now) else len(old)
                gone += old[here:stop]
                here = stop
            else:
                stop = bisect_left(now, old[here], there) if here < len(old) else len(now)
                new += now[there:stop]
                there = stop
        if other.keywords is not self.keywords and other.keywords != self.keywords:
            others.update(uid for uid, _ in other.keywords.items() ^ self.keywords.items())
        if others:
            changed = sorted(others.difference(gone, new).union(changed))
        return Changes(gone, new, changed) if gone or new or changed else NOTHING

    # -- the codec

    def pack(self) -> bytes:
        """As octets, for unpack().  UIDs as runs where these are few."""
        as_runs = _gaps(self.uids) < len(self.uids) // FEW_RUNS
        uids = array("I", [end for pair in runs(self.uids) for end in pair]) if as_runs else self.uids
        keywords = _pack_keywords(self.keywords)
        form = _RUNS * as_runs | _MODSEQS * (self.modseqs is not None)
        return b"".join((_HEAD.pack(form, len(self.uids), 4 * len(uids), len(keywords)), uids.tobytes(),
                         self.flags, keywords, self.modseqs.tobytes() if self.modseqs is not None else b""))

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Messages:
        """What pack() gave, of this machine.  Raises ValueError for anything else: whoever wrote it, rows
        ascend, columns are of one length, and nothing is larger than the octets can hold."""
        try:
            form, many, uid_size, keyword_size = _HEAD.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        ends = _HEAD.size + uid_size
        if form > _RUNS | _MODSEQS or uid_size % 4 \
                or len(data) != ends + many + keyword_size + 8 * many * bool(form & _MODSEQS):
            raise ValueError("columns of other lengths")
        uids = array("I")
        uids.frombytes(data[_HEAD.size:ends])
        if form & _RUNS:
            uids = _expanded(uids, many)
        if len(uids) != many or many and uids[0] == 0 \
                or not form & _RUNS and not all(map(lt, uids, uids[1:])):
            raise ValueError("UIDs do not ascend")
        keywords = _unpack_keywords(data[ends + many:ends + many + keyword_size])
        modseqs = None
        if form & _MODSEQS:
            modseqs = array("Q")
            modseqs.frombytes(data[ends + many + keyword_size:])
        flags = bytes(data[ends:ends + many])
        if flags.translate(None, _FLAGS):
            raise ValueError("flags that are none")
        return cls(uids, flags, keywords, modseqs)


NO_MESSAGES = Messages(array("I"), b"", {})


class Changes:
    """What one ``Messages`` has that an earlier one has not.

    ``gone``: UIDs that are no more.  ``new``: UIDs that were not there.  ``changed``: UIDs in both, whose
    flags, keywords or MODSEQs are others.  All ascend.
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


class Snapshot:
    """What a mailbox holds at one moment.  Never changed once made.

    ``recent``: UIDs that this look was the first to see (RFC 3501 2.3.2).
    """

    __slots__ = ("messages", "recent", "uidnext", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, messages: Messages, recent: UidSet) -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.messages = messages
        self.recent = recent

    def with_recent(self, recent: UidSet) -> Snapshot:
        """The same, but for what is recent."""
        return Snapshot(self.uidvalidity, self.uidnext, self.messages, recent)

    def __repr__(self) -> str:
        return f"Snapshot({self.uidvalidity}, {self.uidnext}, {self.messages!r}, {self.recent!r})"


def keywords_used(keywords: Keywords) -> list[bytes]:
    """The keywords of a mailbox, each once, in a stable order."""
    if not keywords:
        return []
    return sorted(frozenset().union(*set(keywords.values())))


def _gaps(uids: array[int]) -> int:
    """How many UIDs do not follow the one before them.  Pieces without a gap cost two of their numbers."""
    found = 0
    for start in range(0, len(uids) - 1, ROWS):
        last = min(start + ROWS, len(uids) - 1)
        if uids[last] - uids[start] > last - start:
            some = uids[start:last + 1]
            found += last - start - sum(map(eq, map(minus, some[1:], some), repeat(1)))
    return found


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


def _differing(one: bytes, two: bytes) -> list[int]:
    """The places where two runs of equal length differ."""
    if one == two:
        return []
    found: list[int] = []
    for start in range(0, len(two), PIECE):
        old, now = one[start:start + PIECE], two[start:start + PIECE]
        if old != now:
            found += compress(range(start, start + len(now)), map(ne, old, now))
    return found


def _expanded(ends: array[int], most: int) -> array[int]:
    """The UIDs of runs; ValueError where they are more than ``most``.

    Several files say the same of a mailbox: a column that is in use is not made again.
    """
    global _last_expanded
    known = _last_expanded[1]()
    if known is not None and _last_expanded[0] == ends and len(known) <= most:
        return known
    uids = array("I")
    if len(ends) % 2 or not all(first <= last for first, last in pairwise(ends)):
        raise ValueError("half a run")
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        if last - first >= most - len(uids) or uids and first == uids[-1]:
            raise ValueError("runs of other lengths")
        _add_run(uids, first, last)
    _last_expanded = ends, ref(uids)
    return uids


def _add_run(uids: array[int], first: int, last: int) -> None:
    """The UIDs of a run; of a long one octet by octet of each number, as that is quicker than number by
    number."""
    if last - first < 2048 or uids.itemsize != 4:
        uids.extend(range(first, last + 1))
        return
    for block in range(first >> 16, (last >> 16) + 1):         # what stands above the lower half
        lower = _lower(max(first - (block << 16), 0), min(last - (block << 16), 0xFFFF))
        uids.frombytes(_raised(lower, block) if block else lower)


_PLACES = (0, 1, 2, 3) if sys.byteorder == "little" else (3, 2, 1, 0)  # of the octets, the lowest first
_all_lower = memoryview(b"")   # _lower() of all


def prepare() -> None:
    """Make what sessions have in common, before the first of them."""
    global _all_lower
    _all_lower = _lower(0, 0xFFFF).toreadonly()


def _lower(first: int, last: int) -> memoryview:
    """The numbers of a run that are below 65536, four octets each."""
    if _all_lower:
        return _all_lower[4 * first:4 * last + 4]
    above = range(first >> 8, (last >> 8) + 1)
    octets = bytearray(4 * 256 * len(above))
    octets[_PLACES[0]::4] = bytes(range(256)) * len(above)
    octets[_PLACES[1]::4] = b"".join([bytes((part,)) * 256 for part in above])
    return memoryview(octets)[4 * (first & 255):4 * (last - (first & ~255)) + 4]


def _raised(octets: memoryview, block: int) -> bytearray:
    """The same numbers, with ``block`` as their upper half."""
    found = bytearray(octets)
    for place, part in zip(_PLACES[2:], (block & 255, block >> 8), strict=True):
        if part:
            found[place::4] = bytes((part,)) * (len(found) // 4)
    return found


_last_expanded: tuple[array[int], Callable[[], array[int] | None]] = array("I"), lambda: None


@fresh.forgets
def _forget() -> None:
    global _last_expanded
    _last_expanded = array("I"), lambda: None


def _pack_keywords(keywords: Keywords) -> bytes:
    """The sets, a line each; then UIDs and numbers of sets."""
    keywords = {uid: words for uid, words in keywords.items() if words}
    if not keywords:
        return b""
    numbers: dict[frozenset[bytes], int] = {}
    which = array("I", [numbers.setdefault(words, len(numbers)) for words in keywords.values()])
    sets = b"".join([b" ".join(sorted(words)) + b"\n" for words in numbers])
    return struct.pack("=I", len(sets)) + sets + array("I", keywords).tobytes() + which.tobytes()


def _unpack_keywords(data: bytes | memoryview) -> dict[int, frozenset[bytes]]:
    if not data:
        return {}
    try:
        size: int = struct.unpack_from("=I", data)[0]
        rest = len(data) - 4 - size
        if rest < 0 or rest % 8:
            raise ValueError("keywords of other lengths")
        sets = [frozenset(line.split(b" ")) for line in bytes(data[4:4 + size]).split(b"\n")[:-1]]
        columns = array("I")
        columns.frombytes(data[4 + size:])
        half = len(columns) // 2
        return dict(zip(columns[:half], map(sets.__getitem__, columns[half:]), strict=True))
    except (struct.error, IndexError) as error:
        raise ValueError(str(error)) from None
