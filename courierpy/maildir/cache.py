"""What was computed of messages once: columns by UID, in files that grow at their end.

A message never changes, so neither does what follows from its bytes.  Each kind
of value is a file in the folder's index: a header, then segments.  A segment has
the UIDs, where each value ends, and the values in one run; it counts only if its
checksum is right.  Who appends holds a lock of the kernel on the file and cuts off
a tail that a crash left; who reads needs none.
"""
from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left
from itertools import accumulate, islice
from operator import lt
from zlib import crc32

from courierpy.maildir.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from courierpy.maildir.index import Index

MAGIC = b"courierpy cache 1\n\0\0" + struct.pack("=I", 0x01020304)
_FILE = struct.Struct("=24sI")             # magic, UIDVALIDITY
_SEGMENT = struct.Struct("=IIQ")           # checksum, number of messages, octets of the values
PIECE = 8 << 20                            # octets of values after which a segment is written
LARGE = 1 << 20
MANY = 24                                  # segments: the file is written anew as one


class Column:
    """``uids`` and ``ends``: array('I'), array('Q'); ``blob``: the values one after another."""

    __slots__ = ("_places", "_sorted", "blob", "ends", "uids")

    def __init__(self, uids: array[int], ends: array[int], blob: bytes) -> None:
        self.uids = uids
        self.ends = ends
        self.blob = blob
        self._sorted = all(map(lt, uids, islice(uids, 1, None)))
        self._places: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self.uids)

    def place(self, uid: int) -> int:
        """Where the value of this UID is; -1 when it is not there."""
        if self._sorted:
            at = bisect_left(self.uids, uid)
            return at if at < len(self.uids) and self.uids[at] == uid else -1
        if self._places is None:
            self._places = dict(zip(self.uids, range(len(self.uids)), strict=True))
        return self._places.get(uid, -1)

    def run(self, uids: array[int]) -> int:
        """Where these UIDs stand one after another; -1 when they do not."""
        first = self.place(uids[0]) if uids else -1
        return first if first >= 0 and self.uids[first:first + len(uids)] == uids else -1

    def value(self, at: int) -> bytes:
        return self.blob[self.ends[at - 1] if at else 0:self.ends[at]]

    def values(self, first: int, count: int) -> list[bytes]:
        """``count`` values from place ``first`` on."""
        blob, ends = self.blob, self.ends[first:first + count]
        starts = [self.ends[first - 1] if first else 0, *ends]
        return [blob[start:end] for start, end in zip(starts, ends, strict=False)]

    def numbers(self, typecode: str) -> array[int] | array[float]:
        """All values, where they are numbers of eight octets: "q" or "d"."""
        found = array(typecode)
        found.frombytes(self.blob)
        return found


class Cache:
    """The columns of one folder, for one value of its UIDVALIDITY."""

    def __init__(self, index: Index, uidvalidity: int) -> None:
        self.index = index
        self.uidvalidity = uidvalidity
        self._columns: dict[str, Column] = {}
        self._fresh: dict[str, dict[int, bytes]] = {}
        self._sizes: dict[str, int] = {}

    def _path(self, kind: str) -> str:
        return os.path.join(self.index.path, f"cache.{kind}")

    # -- reading

    def column(self, kind: str) -> Column:
        """All that is on disk of this kind, or was when it was asked for first."""
        column = self._columns.get(kind)
        if column is None:
            column = self._columns[kind] = _joined([Column(*parts) for parts in self.segments(kind)])
        return column

    def values(self, kind: str, uids: array[int]) -> list[bytes | None]:
        """Those that are known, None for the others."""
        column, fresh = self.column(kind), self._fresh.get(kind, {})
        first = column.run(uids)
        if first >= 0:
            return [*column.values(first, len(uids))]
        found: list[bytes | None] = []
        for uid in uids:
            value = fresh.get(uid)
            if value is None:
                at = column.place(uid)
                value = column.value(at) if at >= 0 else None
            found.append(value)
        return found

    def whole(self, kind: str, uids: array[int]) -> Column | None:
        """The column of exactly these UIDs, if it is known whole."""
        column = self.column(kind)
        if self._fresh.get(kind):
            self._flush(kind)
            column = self.column(kind)
        return column if column.uids == uids else None

    def size(self, kind: str) -> int:
        """Octets on disk."""
        try:
            return os.stat(self._path(kind)).st_size
        except OSError:
            return 0

    def is_large(self, kind: str) -> bool:
        """Would it take long to load for the sake of a few messages?"""
        return kind not in self._columns and self.size(kind) > LARGE

    def segments(self, kind: str) -> Iterator[tuple[array[int], array[int], bytes]]:
        """(UIDs, ends, values) one segment after another: for columns that are large."""
        try:
            with open(self._path(kind), "rb", buffering=0) as file:
                head = file.read(_FILE.size)
                if head != _FILE.pack(MAGIC, self.uidvalidity):
                    return
                while (found := _read_segment(file)) is not None:
                    yield found
        except OSError:
            return

    # -- adding

    def add(self, kind: str, uid: int, value: bytes) -> None:
        self._fresh.setdefault(kind, {})[uid] = value
        size = self._sizes[kind] = self._sizes.get(kind, 0) + len(value)
        if size >= PIECE:
            self._flush(kind)

    def flush(self) -> None:
        """Write what is new.  May fail in silence: it only saves work."""
        for kind in list(self._fresh):
            self._flush(kind)

    def forget(self) -> None:
        """Free the memory."""
        self.flush()
        self._columns.clear()

    def _flush(self, kind: str) -> None:
        fresh = self._fresh.pop(kind, None)
        self._sizes.pop(kind, None)
        if not fresh:
            return
        column = self._columns.get(kind)
        if column is not None:
            self._columns[kind] = _joined([column, _column(fresh)])
        path = self._path(kind)
        try:
            fd = self._open(path)
        except OSError:
            return
        try:
            import fcntl
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end, count = self._whole(fd)
            if count >= MANY:
                fresh = self._everything(kind, fresh)
                end = 0
            os.ftruncate(fd, end)
            os.lseek(fd, end, os.SEEK_SET)
            head = b"" if end else _FILE.pack(MAGIC, self.uidvalidity)
            write_all(fd, head + _segment(fresh))
        except OSError:
            return                       # another session writes it now, or the disk is full
        finally:
            os.close(fd)

    def _open(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self.index.path, 0o700, exist_ok=True)
            return os.open(path, flags, 0o600)

    def _whole(self, fd: int) -> tuple[int, int]:
        """(where the last whole segment ends, 0 for a file to begin anew; how many there are).

        Checksums are left to who reads: a segment that was cut off is told by the file's size.
        """
        if os.pread(fd, _FILE.size, 0) != _FILE.pack(MAGIC, self.uidvalidity):
            return 0, 0
        size, end, count = os.fstat(fd).st_size, _FILE.size, 0
        while True:
            head = os.pread(fd, _SEGMENT.size, end)
            if len(head) < _SEGMENT.size:
                return end, count
            _, number, octets = _SEGMENT.unpack(head)
            after = end + _SEGMENT.size + 12 * number + octets
            if after > size:
                return end, count
            end = after
            count += 1

    def _everything(self, kind: str, fresh: dict[int, bytes]) -> dict[int, bytes]:
        """All that is known and of messages that are there still: for a file written anew."""
        column = _joined([Column(*parts) for parts in self.segments(kind)])
        if len(column.blob) > 8 * PIECE:
            return fresh                 # a large column of text begins anew
        known = dict(zip(column.uids, column.values(0, len(column)), strict=True))
        known.update(fresh)
        return dict(sorted(known.items()))


def column_of(uids: array[int], values: Collection[bytes]) -> Column:
    return Column(uids, array("Q", accumulate(map(len, values))), b"".join(values))


def _column(values: dict[int, bytes]) -> Column:
    return column_of(array("I", values), values.values())


def _segment(values: dict[int, bytes]) -> bytes:
    column = _column(values)
    body = column.uids.tobytes() + column.ends.tobytes() + column.blob
    return _SEGMENT.pack(crc32(body), len(column.uids), len(column.blob)) + body


def _read_segment(file: object) -> tuple[array[int], array[int], bytes] | None:
    read = file.read  # type: ignore[attr-defined]
    head = read(_SEGMENT.size)
    if len(head) < _SEGMENT.size:
        return None
    check, number, octets = _SEGMENT.unpack(head)
    body = read(12 * number + octets)
    if len(body) < 12 * number + octets or crc32(body) != check:
        return None
    uids, ends = array("I"), array("Q")
    uids.frombytes(body[:4 * number])
    ends.frombytes(body[4 * number:12 * number])
    return uids, ends, body[12 * number:]


def _joined(columns: list[Column]) -> Column:
    columns = [column for column in columns if column.uids] or columns[:1]
    if len(columns) == 1:
        return columns[0]
    uids, ends = array("I"), array("Q")
    blobs = []
    shift = 0
    for column in columns:
        uids += column.uids
        ends += array("Q", [end + shift for end in column.ends]) if shift else column.ends
        shift += len(column.blob)
        blobs.append(column.blob)
    return Column(uids, ends, b"".join(blobs))
