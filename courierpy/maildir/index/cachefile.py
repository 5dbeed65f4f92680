"""One file of the cache: the values of one kind, in segments (segments.py), read and grown at its end.

Who appends holds a lock of the kernel on the file, cuts off what is not whole, and
takes small segments at the end into the new one, so that there are few.  Who reads
needs no lock: what changes below it has another header, or a wrong checksum.  When
most of a file is of messages that are gone, the rest is written to another file.
"""
from __future__ import annotations

import os
import time
from array import array
from bisect import bisect_left

from courierpy.maildir.behind import rename_over
from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import close, remove, write_all
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index import segments
from courierpy.maildir.index.columns import CACHE
from courierpy.maildir.index.segments import PIECE, Column, Stale

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.index.columns import Index
    from courierpy.maildir.index.segments import Place, Stamp, Table

OVERHEAD = 48                              # octets that a value takes in memory beside its own
SLACK = 1000                               # values of dead messages that do not matter
MANY = 16                                  # segments out of order that do not matter
LOCK_TRIES, LOCK_PAUSE = 10, 0.002         # seconds
PLACES = 2000                              # of segments, and files, that are known from session to session

# what is where in the files that this process read, by their headers and stamps, the last one at the end
_walked: dict[tuple[bytes, Stamp], Table] = {}


class CacheFile:
    """The file of ``kind`` in a folder's index, for one value of its UIDVALIDITY.

    ``table``: what is where, as far as that was looked for; None: it is looked for again.
    """

    __slots__ = ("_bad", "_index", "_name", "_uidvalidity", "kind", "table")

    def __init__(self, index: Index, uidvalidity: int, kind: str) -> None:
        self.kind = kind
        self.table: Table | None = None
        self._index = index
        self._name = CACHE + kind
        self._uidvalidity = uidvalidity
        self._bad: set[bytes] = set()      # heads of segments that are not whole

    @property
    def path(self) -> str:
        return self._index.file(self._name)

    @property
    def size(self) -> int:
        """Octets on disk."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0

    def drop(self) -> None:
        """Remove it."""
        self.table = None
        if self._index.trusted():
            remove(self.path)

    # -- reading

    def look(self) -> Table:
        """What is where now.  A file that changed is walked through again."""
        known = self.table
        try:
            if known is not None and known.key == segments.stamp(os.stat(self.path)):
                return known
            fd = self._index.open(self._name)
        except OSError:
            return segments.NOTHING
        try:
            self.table = table = self._known(fd)
        except OSError:
            return segments.NOTHING
        finally:
            close(fd)
        return table

    def _known(self, fd: int) -> Table:
        """What is where, as this process found it where the file is the same since.  OSError."""
        if self._bad:
            return self._walk(fd)
        key = self.head, segments.stamp(os.fstat(fd))
        table = _walked.pop(key, None)
        if table is not None:
            _walked[key] = table
            return table
        table = self._walk(fd)
        _walked[self.head, table.key] = table
        left = PLACES - sum([1 + len(each.places) for each in _walked.values()])
        while left < 0:
            left += 1 + len(_walked.pop(next(iter(_walked))).places)
        return table

    def load(self, place: Place) -> Column:
        """A segment.  Raises Stale where the file must be looked at again."""
        column = None
        try:
            fd = self._index.open(self._name)
            try:
                # twice: it may have been written at this very moment
                column = self._read(fd, place) or self._read(fd, place)
            finally:
                close(fd)
        except OSError:
            pass
        except Stale:
            self.table = None
            raise
        if column is None:
            self._bad.add(place.head)
            self.table = None
            raise Stale
        return column

    def columns(self) -> Iterator[Column]:
        """One segment after another, as far as they are whole."""
        try:
            with open(self._index.open(self._name), "rb", buffering=0) as file:
                for place in self._walk(file.fileno()).places:
                    column = self._read(file.fileno(), place)
                    if column is None:
                        self._bad.add(place.head)
                        return
                    yield column
        except (OSError, Stale):
            return

    def sound(self) -> str:
        """"" for a file that is whole, else what is wrong with it, and made anew at the next occasion."""
        try:
            fd = self._index.open(self._name)
        except OSError as error:
            return error.strerror or "cannot be read"
        try:
            table = self._walk(fd)
            if not table.end:
                return "of another version, UIDVALIDITY or limits"
            if any(self._read(fd, place) is None for place in table.places):
                return "damaged"
            return "torn at its end" if table.end < os.fstat(fd).st_size else ""
        except (OSError, Stale):
            return "changing, or not to be read"
        finally:
            close(fd)

    @property
    def head(self) -> bytes:
        """What it begins with."""
        return segments.header(self._uidvalidity, self._index.rules, self.kind)

    def _walk(self, fd: int) -> Table:
        return segments.walk(fd, self.head, self._bad)

    def _read(self, fd: int, place: Place) -> Column | None:
        table = self.table
        return segments.read(fd, self.head, place, table.key if table is not None else segments.NOTHING.key)

    # -- adding

    def add(self, values: dict[int, bytes], octets: int, alive: int) -> int:
        """Write these values, of so many octets, behind those that are there.  Raises OSError.

        ``alive``: messages of the folder, as they were counted last; gives what they are as far as that
        is known now.
        """
        fd = self._locked()
        try:
            self._append(fd, values, octets)
            return self._tidied(fd, alive)
        finally:
            close(fd)

    def _locked(self) -> int:
        """A descriptor of the file, which nobody else writes to.  Raises OSError."""
        import fcntl
        for _ in range(LOCK_TRIES):
            fd = self._index.open(self._name, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found, there = os.fstat(fd), os.stat(self.path)
                if (found.st_ino, found.st_dev) == (there.st_ino, there.st_dev):
                    return fd
            except (BlockingIOError, FileNotFoundError):
                time.sleep(LOCK_PAUSE)           # a write takes milliseconds
            except BaseException:
                close(fd)
                raise
            close(fd)
        raise BlockingIOError

    def _append(self, fd: int, fresh: dict[int, bytes], octets: int) -> None:
        table = self._checked(fd)
        places, start = table.places, table.end
        values, total = fresh, octets
        while places and places[-1].span <= total and total + places[-1].span <= PIECE:
            place = places.pop()
            column = self._read(fd, place)
            start = place.offset
            if column is not None:
                values = column.pairs() | values
                total += place.span
        head = self.head
        try:
            os.ftruncate(fd, start)
            os.lseek(fd, start, os.SEEK_SET)
            write_all(fd, b"".join([b"" if start else head, *segments.pack(values, head)]))
        except OSError:
            os.ftruncate(fd, start)
            raise

    def _checked(self, fd: int) -> Table:
        """What is whole, by the lock: of what we found bad, what still is."""
        bad, self._bad = self._bad, set()
        if bad:
            # nothing changes under the lock, so no segment is stale
            self._bad = {place.head for place in self._walk(fd).places
                         if place.head in bad and self._read(fd, place) is None}
        return self._walk(fd)

    # -- what is of no use any more

    def _tidied(self, fd: int, alive: int) -> int:
        """Write the file anew if most of it is of messages that are gone.  By the lock.  Gives ``alive``."""
        table = self.table = self._walk(fd)
        if not _is_wasted(table, alive):
            return alive
        head = self._index.head()
        if head is not None and head.uidvalidity == self._uidvalidity:
            alive = head.count
            if not _is_wasted(table, alive):
                return alive
        path = ""
        try:
            database = uiddb.read(os.path.join(self._index.folder, uiddb.NAME))
            if database is None or database.damaged or database.uidvalidity != self._uidvalidity:
                return alive
            alive = len(database)
            if not _is_wasted(table, alive):
                return alive
            scratch, path = self._index.scratch()
            try:
                self._rewrite(fd, table, database, scratch)
            finally:
                close(scratch)
            rename_over(path, self.path)
        except (OSError, StoreError):
            alive = table.number             # not again before much more has come
            if path:
                remove(path)
        except BaseException:
            remove(path)
            raise
        self.table = None
        return alive

    def _rewrite(self, fd: int, table: Table, database: uiddb.UidDb, scratch: int) -> None:
        """Copy what is of messages that are there, by ascending UIDs and piece by piece."""
        uids, starts, sizes = array("I"), array("Q"), array("Q")
        for place in table.places:
            column = self._read(fd, place)
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
        head = self.head
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


def _is_wasted(table: Table, alive: int) -> bool:
    return table.disorder >= MANY or table.number > 2 * alive + SLACK
