"""The files of the cache: a header, then segments of columns.  docs/index.md.

A segment has the UIDs, ascending, where each value ends, and the values in one run.
Its checksums begin with the one of the file's header, so that it counts only where it
was written: for this kind of value, this UIDVALIDITY and these rules.
"""
from __future__ import annotations

import os
import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate
from zlib import crc32

from courierpy.maildir.directory import settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    Stamp = tuple[int, int, int, int, int]

MAGIC = b"courierpy cache 2\n\0\0"
ORDER = 0x01020304                         # of the octets in a number
RULES = 20                                 # octets that say by which rules values are computed
# magic, byte order, UIDVALIDITY, rules, checksum of the kind's name
_FILE = struct.Struct(f"=20sII{RULES}sI")
_CHECK = struct.Struct("=I")
# checksum of the rest, of the body; number of values; first and last UID; 0; octets of the values
_SEGMENT = struct.Struct("=IIIIIIQ")
HEAD = _FILE.size + _CHECK.size
ROW = 12                                   # octets of a value's UID and end
NUMBER_OCTETS = 8                          # of a value that is a number
PIECE = 1 << 20                            # octets after which a segment is full
END = b"\0"                                # behind a text that is told as it is kept, and in none of them


class Stale(Exception):
    """Another session changed the file."""


class Column:
    """Values of one kind, each of a UID.

    ``uids`` and ``ends``: array('I'), ascending, and array('Q'); ``blob``: the values one
    after another."""

    __slots__ = ("blob", "ends", "uids")

    def __init__(self, uids: array[int], ends: array[int], blob: bytes) -> None:
        self.uids = uids
        self.ends = ends
        self.blob = blob

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def weight(self) -> int:
        """Octets that it takes."""
        return ROW * len(self.uids) + len(self.blob)

    def place(self, uid: int) -> int:
        """Where the value of this UID is; -1 when it is not there."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def run(self, uids: array[int]) -> tuple[int, int]:
        """(Where they begin, how many of the first of these UIDs stand there one after another)."""
        first = self.place(uids[0]) if uids else -1
        if first < 0:
            return 0, 0
        there = self.uids[first:first + len(uids)]
        if there == uids:
            return first, len(uids)
        low, high = 1, len(there)
        while low < high:
            half = (low + high + 1) // 2
            if there[:half] == uids[:half]:
                low = half
            else:
                high = half - 1
        return first, low

    def value(self, at: int) -> bytes:
        return self.blob[self.ends[at - 1] if at else 0:self.ends[at]]

    def values(self, first: int, count: int) -> list[bytes]:
        """``count`` values from place ``first`` on."""
        blob, ends = self.blob, self.ends[first:first + count]
        starts = [self.ends[first - 1] if first else 0, *ends]
        return [blob[start:end] for start, end in zip(starts, ends, strict=False)]

    def pick(self, uids: array[int]) -> list[bytes | None]:
        """Values of these UIDs; None where there is none."""
        first, count = self.run(uids)
        if count == len(uids):
            return [*self.values(first, count)]
        if len(uids) * 8 > len(self.uids):
            return list(map(self.pairs().get, uids))
        rows = map(self.place, uids)
        return [self.value(row) if row >= 0 else None for row in rows]

    def pairs(self) -> dict[int, bytes]:
        return dict(zip(self.uids, self.values(0, len(self.uids)), strict=True))

    def numbers(self, typecode: str) -> array[int] | array[float]:
        """All values, where they are numbers of eight octets: "q" or "d"."""
        found = array(typecode)
        found.frombytes(self.blob)
        return found


class Texts:
    """``count`` values of a column from place ``first`` on, where each of them ends in END."""

    __slots__ = ("_column", "_count", "_first")

    def __init__(self, column: Column, first: int, count: int) -> None:
        self._column = column
        self._first = first
        self._count = count

    @classmethod
    def of(cls, uids: array[int], values: Collection[bytes]) -> Texts:
        """These, one for each UID."""
        return cls(column_of(uids, values), 0, len(uids))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.joined(0, self._count).split(END) if self._count else [])

    def first(self, count: int) -> Texts:
        """The first ``count`` of them."""
        return Texts(self._column, self._first, count)

    def joined(self, start: int, stop: int) -> bytes:
        """Those from ``start`` to before ``stop``, with END between them."""
        return self._column.blob[self._begin(start):self._begin(stop) - len(END)]

    def lengths(self) -> list[int]:
        """How many octets each of them has."""
        ends = self._column.ends[self._first:self._first + self._count]
        return [end - start - len(END) for start, end in zip([self._begin(0), *ends], ends, strict=False)]

    @property
    def octets(self) -> int:
        """How many octets all of them have."""
        return self._begin(self._count) - self._begin(0) - self._count * len(END)

    def _begin(self, at: int) -> int:
        at += self._first
        return self._column.ends[at - 1] if at else 0


class Place:
    """A segment in the file: ``head`` as it stands there, which is its identity;
    ``span``: its octets, and ``octets`` those of the values.  ``sound``: it was read, and its checksum
    is right."""

    __slots__ = ("check", "first", "head", "last", "number", "octets", "offset", "sound", "span")

    def __init__(self, offset: int, head: bytes) -> None:
        self.offset = offset
        self.head = head
        self.sound = False
        self.number: int
        self.last: int
        self.octets: int
        _, self.check, self.number, self.first, self.last, _, self.octets = _SEGMENT.unpack(head)
        self.span: int = len(head) + ROW * self.number + self.octets

    @property
    def start(self) -> int:
        """Where the values begin."""
        return self.offset + len(self.head) + ROW * self.number


class Table:
    """What is where in a file.  ``key``: its stamp; ``end``: where the last whole
    segment ends, 0 when all must be written anew; ``disorder``: how many segments hold
    UIDs that are not above those before them."""

    __slots__ = ("_firsts", "_lasts", "disorder", "end", "key", "places")

    def __init__(self, key: Stamp, places: list[Place], end: int) -> None:
        self.key = key
        self.places = places
        self.end = end
        self._firsts = [place.first for place in places]
        self._lasts = [place.last for place in places]
        self.disorder: int = sum(map(int.__le__, self._firsts[1:], accumulate(self._lasts, max)))

    @property
    def number(self) -> int:
        """How many values there are."""
        return sum([place.number for place in self.places])

    @property
    def last(self) -> int:
        """The highest UID."""
        return max(self._lasts, default=0)

    def around(self, uids: array[int]) -> list[Place]:
        """The segments that may have some of these, the latest first."""
        places = self.places
        if not self.disorder:
            places = places[bisect_left(self._lasts, uids[0]):bisect_right(self._firsts, uids[-1])]
        return places[::-1]


NOTHING = Table((0, 0, 0, 0, 0), [], 0)


def header(uidvalidity: int, rules: bytes, kind: str) -> bytes:
    """What a file begins with."""
    head = _FILE.pack(MAGIC, ORDER, uidvalidity, rules, crc32(kind.encode()))
    return head + _CHECK.pack(crc32(head))


def seed_of(head: bytes) -> int:
    """What the checksums in a file begin with.  (The checksum of a header with its own at the
    end would be the same number for all headers.)"""
    return int(_CHECK.unpack_from(head, _FILE.size)[0])


def stamp(found: os.stat_result) -> Stamp:
    """Another one where a file changed, but for changes in the same tick of the clock."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def walk(fd: int, head: bytes, bad: Collection[bytes] = ()) -> Table:
    """What is there, by the heads alone: up to what is torn or has one of the ``bad`` heads.
    Raises OSError."""
    found = os.fstat(fd)
    places: list[Place] = []
    end = 0
    if os.pread(fd, len(head), 0) == head:
        seed, end = seed_of(head), len(head)
        while True:
            data = os.pread(fd, _SEGMENT.size, end)
            if len(data) < _SEGMENT.size or data in bad \
                    or _CHECK.unpack_from(data)[0] != crc32(data[_CHECK.size:], seed):
                break
            place = Place(end, data)
            if end + place.span > found.st_size:
                break
            places.append(place)
            end += place.span
    return Table(stamp(found), places, end)


def read(fd: int, head: bytes, place: Place, key: Stamp = NOTHING.key) -> Column | None:
    """A segment; None when it is not what was written.  Raises OSError, and Stale for one
    that is not there any more.

    One that is ``sound`` has no second checksum where the file has the stamp ``key`` of the Table with its
    place: what was written anew since has another head, and what is being written another stamp."""
    began = time.time_ns()
    data = os.pread(fd, place.start - place.offset, place.offset)
    if data[:_SEGMENT.size] != place.head:
        raise Stale
    blob = os.pread(fd, place.octets, place.start)     # by itself: it is large, and not copied
    body, number = memoryview(data)[_SEGMENT.size:], place.number
    if len(body) < ROW * number or len(blob) < place.octets:
        return None
    known = place.sound and stamp(os.fstat(fd)) == key and settled(key[4], began)
    if not known and crc32(blob, crc32(body, seed_of(head))) != place.check:
        return None
    place.sound = True
    uids, ends = array("I"), array("Q")
    uids.frombytes(body[:4 * number])
    ends.frombytes(body[4 * number:])
    return Column(uids, ends, blob)


def pack(values: dict[int, bytes], head: bytes) -> Iterator[bytes]:
    """The octets of as many segments as these values take."""
    uids = sorted(values)
    seed = seed_of(head)
    start = size = 0
    for at, uid in enumerate(uids, 1):
        size += len(values[uid]) + ROW
        if size >= PIECE or at == len(uids):
            column = column_of(array("I", uids[start:at]), [values[one] for one in uids[start:at]])
            body = column.uids.tobytes() + column.ends.tobytes() + column.blob
            rest = _SEGMENT.pack(0, crc32(body, seed), at - start, uids[start], uid, 0,
                                 len(column.blob))[_CHECK.size:]
            yield _CHECK.pack(crc32(rest, seed)) + rest + body
            start, size = at, 0


def column_of(uids: array[int], values: Collection[bytes]) -> Column:
    """The column of these values, one for each UID."""
    return Column(uids, array("Q", accumulate(map(len, values))), b"".join(values))
