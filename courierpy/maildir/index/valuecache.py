"""What was computed of messages once: columns by UID, in files that grow at their end.

A message never changes, so neither does what follows from its bytes.  Each kind
of value is a file in the folder's index: a header, then segments of about a megabyte.
What is where is known from the headers of the segments; a segment is read when a
value of it is wanted, and few are kept, so that memory does not grow with the folder.

Nothing is believed whose checksum is wrong.

Who appends holds a lock of the kernel on the file, cuts off what is not whole, and
takes small segments at the end into the new one, so that there are few.  Who reads
needs no lock: what changes below it has another header, or a wrong checksum.  When
most of a file is of messages that are gone, the rest is written to another file.
"""
from __future__ import annotations

import os
import time
from array import array
from bisect import bisect_left, bisect_right

from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import close, listed, remove, write_all
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index import segments
from courierpy.maildir.index.columns import CACHE
from courierpy.maildir.index.segments import PIECE, Column, Stale, column_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.index.columns import Index
    from courierpy.maildir.index.segments import Place, Table

KEEP = 4 << 20                             # octets of segments that stay in memory
HOLD = 8 << 20                             # octets of a kind that are kept though they cannot be written
PENDING = 4 << 20                          # octets of all kinds that are to be written
OVERHEAD = 48                              # octets that a value takes in memory beside its own
LARGE = 1 << 20
SLACK = 1000                               # values of dead messages that do not matter
MANY = 16                                  # segments out of order that do not matter
TRIES = 5                                  # for a file that others change meanwhile
LOCK_TRIES, LOCK_PAUSE = 10, 0.002         # seconds


class Cache:
    """The columns of one folder, for one value of its UIDVALIDITY."""

    def __init__(self, index: Index, uidvalidity: int) -> None:
        self.index = index
        self.uidvalidity = uidvalidity
        self._tables: dict[str, Table] = {}
        self._loaded: dict[tuple[str, bytes], Column] = {}       # by segment, the one used last at the end
        self._weight = 0                                         # octets of their values
        self._fresh: dict[str, dict[int, bytes]] = {}
        self._sizes: dict[str, int] = {}                         # octets of these
        self._pending = 0                                        # and of all, or more
        self._when: dict[str, int] = {}                          # at which size they are written
        self._bad: dict[str, set[bytes]] = {}                    # heads of segments that are not whole
        self._alive = 0                                          # messages, as they were counted last

    # -- reading

    def values(self, kind: str, uids: array[int]) -> list[bytes | None]:
        """Those that are known, None for the others.  The UIDs ascend."""
        found: list[bytes | None] = [None] * len(uids)
        for _ in range(TRIES if uids else 0):
            try:
                self._take(kind, uids, found)
                break
            except Stale:
                continue
        fresh = self._fresh.get(kind)
        if fresh:
            for at, uid in enumerate(uids):
                if found[at] is None:
                    found[at] = fresh.get(uid)
        return found

    def _take(self, kind: str, uids: array[int], found: list[bytes | None]) -> None:
        for place in self._table(kind).around(uids):
            start, stop = bisect_left(uids, place.first), bisect_right(uids, place.last)
            if start < stop:
                values = self._load(kind, place).pick(uids[start:stop])
                if None in values:     # in another segment, perhaps
                    values = [old if new is None else new
                              for old, new in zip(found[start:stop], values, strict=True)]
                found[start:stop] = values

    def weight(self, kind: str, uids: array[int]) -> int:
        """How many octets the values of these UIDs may have, by the heads of the segments."""
        total = self._sizes.get(kind, 0)
        for place in self._table(kind).around(uids):
            if place.first <= uids[-1] and uids[0] <= place.last:
                share = place.span if place.span > 2 * PIECE else 4 * place.span * len(uids) // place.number
                total += min(place.span, share)
        return total

    def has(self, kind: str, uid: int) -> bool:
        if uid in self._fresh.get(kind, ()):
            return True
        try:
            return any(place.first <= uid <= place.last and self._load(kind, place).place(uid) >= 0
                       for place in self._table(kind).around(array("I", [uid])))
        except Stale:
            return False

    def known(self, kind: str, uids: array[int]) -> bytes:
        """For each of these UIDs 1 or 0: is there a value that is believed?"""
        mask = bytearray(len(uids))
        for have, _, _ in self.segments(kind):
            start, stop = bisect_left(uids, have[0]), bisect_right(uids, have[-1])
            if uids[start:stop] == have:
                mask[start:stop] = b"\1" * (stop - start)
                continue
            for uid in have:
                at = bisect_left(uids, uid, start, stop)
                if at < stop and uids[at] == uid:
                    mask[at] = 1
        return bytes(mask)

    def is_beyond(self, kind: str, uid: int) -> bool:
        """Is this UID above all that are on disk?"""
        return uid > self._table(kind).last

    def whole(self, kind: str, uids: array[int]) -> Column | None:
        """The column of exactly these UIDs, if it is known whole."""
        if self._fresh.get(kind):
            self._flush(kind)
        table = self._table(kind)
        if table.number + len(self._fresh.get(kind, ())) < len(uids):
            return None
        if table.disorder or self._fresh.get(kind):
            values = self.values(kind, uids)
            return None if None in values else column_of(uids, values)  # type: ignore[arg-type]
        ends, blobs, at, shift = array("Q"), [], 0, 0
        for place in table.places:
            stop = bisect_right(uids, place.last, at)
            if stop == at:
                continue
            try:
                column = self._load(kind, place)
            except Stale:
                return None
            if column.uids != uids[at:stop]:       # some are gone
                values = column.pick(uids[at:stop])
                if None in values:
                    return None
                column = column_of(uids[at:stop], values)  # type: ignore[arg-type]
            ends += array("Q", [end + shift for end in column.ends]) if shift else column.ends
            blobs.append(column.blob)
            shift += len(column.blob)
            at = stop
        return Column(uids, ends, b"".join(blobs)) if at == len(uids) else None

    def segments(self, kind: str) -> Iterator[tuple[array[int], array[int], bytes]]:
        """(UIDs, ends, values) one segment after another: for columns that are large."""
        self._flush(kind)
        try:
            with open(self.index.open(CACHE + kind), "rb", buffering=0) as file:
                for place in self._walk(file.fileno(), kind).places:
                    column = self._read(file.fileno(), kind, place)
                    if column is None:
                        self._bad.setdefault(kind, set()).add(place.head)
                        return
                    yield column.uids, column.ends, column.blob
        except (OSError, Stale):
            return

    def size(self, kind: str) -> int:
        """Octets on disk."""
        try:
            return os.stat(self.index.file(CACHE + kind)).st_size
        except OSError:
            return 0

    def is_large(self, kind: str) -> bool:
        """Would it take longer to look here than to look at a few messages?"""
        return kind not in self._tables and self.size(kind) > LARGE

    def kinds(self) -> list[str]:
        """What there is on disk, the file that was written last at the end."""
        found = []
        for entry in listed(self.index.path):
            if entry.name.startswith(CACHE):
                try:
                    found.append((entry.stat().st_mtime_ns, entry.name.removeprefix(CACHE)))
                except OSError:
                    continue           # another session dropped it
        return [kind for _, kind in sorted(found)]

    def sound(self, kind: str) -> str:
        """"" for a file that is whole, else what is wrong with it, and made anew at the next occasion."""
        try:
            fd = self.index.open(CACHE + kind)
        except OSError as error:
            return error.strerror or "cannot be read"
        try:
            table = self._walk(fd, kind)
            if not table.end:
                return "of another version, UIDVALIDITY or limits"
            if any(self._read(fd, kind, place) is None for place in table.places):
                return "damaged"
            return "torn at its end" if table.end < os.fstat(fd).st_size else ""
        except (OSError, Stale):
            return "changing, or not to be read"
        finally:
            close(fd)

    def _head(self, kind: str) -> bytes:
        return segments.header(self.uidvalidity, self.index.rules, kind)

    def _table(self, kind: str) -> Table:
        """What is where now.  A file that changed is walked through again."""
        known = self._tables.get(kind)
        try:
            if known is not None:
                found = os.stat(self.index.file(CACHE + kind))
                if known.key == (found.st_ino, found.st_size):
                    return known
            fd = self.index.open(CACHE + kind)
        except OSError:
            return segments.NOTHING
        try:
            self._tables[kind] = table = self._walk(fd, kind)
        except OSError:
            return segments.NOTHING
        finally:
            close(fd)
        return table

    def _walk(self, fd: int, kind: str) -> Table:
        return segments.walk(fd, self._head(kind), self._bad.get(kind, ()))

    def _read(self, fd: int, kind: str, place: Place) -> Column | None:
        return segments.read(fd, self._head(kind), place)

    def _load(self, kind: str, place: Place) -> Column:
        """Raises Stale where the file must be walked through again."""
        key = kind, place.head
        column = self._loaded.pop(key, None)
        if column is None:
            try:
                fd = self.index.open(CACHE + kind)
                try:
                    # twice: it may have been written at this very moment
                    column = self._read(fd, kind, place) or self._read(fd, kind, place)
                finally:
                    close(fd)
            except OSError:
                column = None
            except Stale:
                self._tables.pop(kind, None)
                raise
            if column is None:
                self._bad.setdefault(kind, set()).add(place.head)
                self._tables.pop(kind, None)
                raise Stale
            self._weight += column.weight
        self._loaded[key] = column
        while self._weight > KEEP and len(self._loaded) > 1:
            self._weight -= self._loaded.pop(next(iter(self._loaded))).weight
        return column

    # -- adding

    def add(self, kind: str, uid: int, value: bytes) -> None:
        self._fresh.setdefault(kind, {})[uid] = value
        weight = len(value) + OVERHEAD
        size = self._sizes[kind] = self._sizes.get(kind, 0) + weight
        self._pending += weight
        if size >= self._when.get(kind, PIECE):
            self._flush(kind)
        elif self._pending >= PENDING:
            self._pending = 0              # counted anew
            self._flush(max(self._sizes, key=self._sizes.__getitem__))
            self._pending = sum(self._sizes.values())

    def flush(self) -> None:
        """Write what is new.  May fail in silence: it only saves work."""
        for kind in list(self._fresh):
            self._flush(kind)

    def forget(self) -> None:
        """Free the memory."""
        self.flush()
        for values in (self._fresh, self._sizes, self._when, self._tables, self._loaded):
            values.clear()
        self._weight = 0

    def drop(self, kind: str) -> None:
        """Nothing of this kind is known any more."""
        for values in (self._fresh, self._sizes, self._when, self._tables):
            values.pop(kind, None)
        if self.index.trusted():
            remove(self.index.file(CACHE + kind))

    def _flush(self, kind: str) -> None:
        """What cannot be written is kept for ourselves, until it is much."""
        fresh = self._fresh.get(kind)
        if not fresh:
            return
        try:
            fd = self._locked(kind)
            try:
                self._append(fd, kind, fresh)
            finally:
                close(fd)
        except OSError:
            size = self._sizes[kind]
            if size < HOLD:
                self._when[kind] = size + PIECE
                return
        for values in (self._fresh, self._sizes, self._when):
            values.pop(kind, None)

    def _locked(self, kind: str) -> int:
        """A descriptor of the file, which nobody else writes to.  Raises OSError."""
        import fcntl
        for _ in range(LOCK_TRIES):
            fd = self.index.open(CACHE + kind, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found, there = os.fstat(fd), os.stat(self.index.file(CACHE + kind))
                if (found.st_ino, found.st_dev) == (there.st_ino, there.st_dev):
                    return fd
            except (BlockingIOError, FileNotFoundError):
                time.sleep(LOCK_PAUSE)           # a write takes milliseconds
            except BaseException:
                close(fd)
                raise
            close(fd)
        raise BlockingIOError

    def _append(self, fd: int, kind: str, fresh: dict[int, bytes]) -> None:
        """Write these values behind those that are there.  Raises OSError."""
        table = self._checked(fd, kind)
        places, start = table.places, table.end
        values, total = fresh, self._sizes[kind]
        while places and places[-1].span <= total and total + places[-1].span <= PIECE:
            place = places.pop()
            column = self._read(fd, kind, place)
            start = place.offset
            if column is not None:
                values = column.pairs() | values
                total += place.span
        head = self._head(kind)
        try:
            os.ftruncate(fd, start)
            os.lseek(fd, start, os.SEEK_SET)
            write_all(fd, b"".join([b"" if start else head, *segments.pack(values, head)]))
        except OSError:
            os.ftruncate(fd, start)
            raise
        self._tidy(fd, kind)

    def _checked(self, fd: int, kind: str) -> Table:
        """What is whole, by the lock: of what we found bad, what still is."""
        bad = self._bad.pop(kind, None)
        if bad:
            # nothing changes under the lock, so no segment is stale
            self._bad[kind] = {place.head for place in self._walk(fd, kind).places
                               if place.head in bad and self._read(fd, kind, place) is None}
        return self._walk(fd, kind)

    # -- what is of no use any more

    def _tidy(self, fd: int, kind: str) -> None:
        """Write the file anew if most of it is of messages that are gone.  By the lock."""
        table = self._tables[kind] = self._walk(fd, kind)
        if not self._is_wasted(table):
            return
        head = self.index.head()
        if head is not None and head.uidvalidity == self.uidvalidity:
            self._alive = head.count
            if not self._is_wasted(table):
                return
        path = ""
        try:
            database = uiddb.read(os.path.join(self.index.folder, uiddb.NAME))
            if database is None or database.damaged or database.uidvalidity != self.uidvalidity:
                return
            self._alive = len(database)
            if not self._is_wasted(table):
                return
            scratch, path = self.index.scratch()
            try:
                self._rewrite(fd, kind, table, database, scratch)
            finally:
                close(scratch)
            os.rename(path, self.index.file(CACHE + kind))
        except (OSError, StoreError):
            self._alive = table.number       # not again before much more has come
            if path:
                remove(path)
        except BaseException:
            remove(path)
            raise
        self._tables.pop(kind, None)

    def _is_wasted(self, table: Table) -> bool:
        return table.disorder >= MANY or table.number > 2 * self._alive + SLACK

    def _rewrite(self, fd: int, kind: str, table: Table, database: uiddb.UidDb, scratch: int) -> None:
        """Copy what is of messages that are there, by ascending UIDs and piece by piece."""
        uids, starts, sizes = array("I"), array("Q"), array("Q")
        for place in table.places:
            column = self._read(fd, kind, place)
            if column is None:
                break
            before = 0
            for uid, end in zip(column.uids, column.ends, strict=True):
                at = bisect_left(database.uids, uid)
                # a number that was given since is not in it
                if uid >= database.uidnext or at < len(database.uids) and database.uids[at] == uid:
                    uids.append(uid)
                    starts.append(place.start + before)
                    sizes.append(end - before)
                before = end
        head = self._head(kind)
        write_all(scratch, head)
        order = range(len(uids)) if not table.disorder else sorted(range(len(uids)), key=uids.__getitem__)
        values: dict[int, bytes] = {}
        size = 0
        for row in order:
            values[uids[row]] = os.pread(fd, sizes[row], starts[row])
            size += sizes[row] + OVERHEAD
            if size >= PIECE:
                write_all(scratch, b"".join(segments.pack(values, head)))
                values, size = {}, 0
        write_all(scratch, b"".join(segments.pack(values, head)))


__all__ = ["PIECE", "Cache", "Column", "column_of"]
