"""What was computed of messages once: columns by UID, in files that grow at their end.

A message never changes, so neither does what follows from its bytes.  Each kind of value is a
file in the folder's index (cachefile.py): a header, then segments of about a megabyte.
What is where is known from the headers of the segments; a segment is read when a
value of it is wanted, and few are kept, so that memory does not grow with the folder.

Nothing is believed whose checksum is wrong.
"""
from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from courierpy.maildir.files import listed
from courierpy.maildir.index.cachefile import OVERHEAD, CacheFile
from courierpy.maildir.index.columns import CACHE
from courierpy.maildir.index.segments import NUMBER_OCTETS, PIECE, Column, Stale, Texts, column_of
from courierpy.system.proc import keep_freed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.index.columns import Index
    from courierpy.maildir.index.segments import Place

KEEP = 4 << 20                             # octets of segments that stay in memory
FREED = 3 << 19                            # octets of a block: of a segment, or of what is told of it
HOLD = 8 << 20                             # octets of a kind that are kept though they cannot be written
PENDING = 4 << 20                          # octets of all kinds that are to be written
LARGE = 1 << 20                            # octets of a file that takes long to look at
TRIES = 5                                  # for a file that others change meanwhile


class _Held:
    """The files of a folder's columns, and the segments of them that are in memory."""

    def __init__(self, index: Index, uidvalidity: int) -> None:
        keep_freed(FREED)
        self._index = index
        self._uidvalidity = uidvalidity
        self._files: dict[str, CacheFile] = {}
        self._loaded: dict[tuple[str, bytes], Column] = {}       # by segment, the one used last at the end
        self._weight = 0                                         # octets of their values
        self._passed: dict[str, tuple[bytes, Column]] = {}       # of each kind the one that was last passed

    def file(self, kind: str) -> CacheFile:
        file = self._files.get(kind)
        if file is None:
            file = self._files[kind] = CacheFile(self._index, self._uidvalidity, kind)
        return file

    def load(self, kind: str, place: Place, passing: bool = False) -> Column:
        """``passing``: all of it is taken, and it need not stay when the next one is.  Raises Stale where the
        file must be looked at again."""
        key = kind, place.head
        head, column = self._passed.get(kind, (b"", None))
        if column is not None and head == place.head:
            return column
        column = self._loaded.pop(key, None)
        if column is None:
            column = self.file(kind).load(place)
            if passing:
                self._passed[kind] = place.head, column
                return column
            self._weight += column.weight
        self._loaded[key] = column
        while self._weight > KEEP and len(self._loaded) > 1:
            self._weight -= self._loaded.pop(next(iter(self._loaded))).weight
        return column

    def runs(self, kind: str, uids: array[int]) -> Iterator[tuple[Column, int, int]]:
        """(segment, from which place, how many): as many of the first of these as stand one behind the
        other."""
        table, at = self.file(kind).look(), 0
        for place in reversed(table.around(uids)) if uids and not table.disorder else ():
            stop = bisect_right(uids, place.last, at)
            if stop == at:
                continue
            try:
                column = self.load(kind, place, stop - at >= place.number)
            except Stale:
                return
            first, count = column.run(uids[at:stop])
            if count:
                yield column, first, count
            at += count
            if at < stop:
                return

    def forget(self) -> None:
        self._loaded.clear()
        self._passed.clear()
        self._weight = 0
        for file in self._files.values():
            file.table = None


class Cache:
    """The columns of one folder, for one value of its UIDVALIDITY."""

    def __init__(self, index: Index, uidvalidity: int) -> None:
        self.index = index
        self.uidvalidity = uidvalidity
        self._held = _Held(index, uidvalidity)
        self._fresh: dict[str, dict[int, bytes]] = {}
        self._sizes: dict[str, int] = {}                         # octets of these
        self._pending = 0                                        # and of all, or more
        self._when: dict[str, int] = {}                          # at which size they are written
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
        for place in self._held.file(kind).look().around(uids):
            start, stop = bisect_left(uids, place.first), bisect_right(uids, place.last)
            if start < stop:
                values = self._held.load(kind, place).pick(uids[start:stop])
                if None in values:     # in another segment, perhaps
                    values = [old if new is None else new
                              for old, new in zip(found[start:stop], values, strict=True)]
                found[start:stop] = values

    def run(self, kind: str, uids: array[int]) -> bytes | None:
        """The values of these UIDs, which ascend, one behind the other, of a kind whose values have
        NUMBER_OCTETS each; None where they are not all to be had so."""
        found = [column.blob[first * NUMBER_OCTETS:(first + count) * NUMBER_OCTETS]
                 for column, first, count in self._held.runs(kind, uids)]
        return b"".join(found) if uids and sum(map(len, found)) == len(uids) * NUMBER_OCTETS else None

    def texts(self, kind: str, uids: array[int]) -> Texts | None:
        """The values of the first of these UIDs, which ascend, as they stand in a segment, of a kind whose
        values end in END; None where it is not to be had so."""
        return next((Texts(*run) for run in self._held.runs(kind, uids)), None)

    def weight(self, kind: str, uids: array[int]) -> int:
        """How many octets the values of these UIDs may have, by the heads of the segments."""
        total = self._sizes.get(kind, 0)
        for place in self._held.file(kind).look().around(uids):
            if place.first <= uids[-1] and uids[0] <= place.last:
                share = place.span if place.span > 2 * PIECE else 4 * place.span * len(uids) // place.number
                total += min(place.span, share)
        return total

    def has(self, kind: str, uid: int) -> bool:
        if uid in self._fresh.get(kind, ()):
            return True
        try:
            return any(place.first <= uid <= place.last and self._held.load(kind, place).place(uid) >= 0
                       for place in self._held.file(kind).look().around(array("I", [uid])))
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
        return uid > self._held.file(kind).look().last

    def whole(self, kind: str, uids: array[int]) -> Column | None:
        """The column of exactly these UIDs, if it is known whole."""
        if self._fresh.get(kind):
            self._flush(kind)
        table = self._held.file(kind).look()
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
                column = self._held.load(kind, place)
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
        for column in self._held.file(kind).columns():
            yield column.uids, column.ends, column.blob

    def number(self, kind: str) -> int:
        """Of values that are known, or more where some are known twice."""
        return self._held.file(kind).look().number + len(self._fresh.get(kind, ()))

    def is_large(self, kind: str) -> bool:
        """Would it take longer to look here than to look at a few messages?"""
        file = self._held.file(kind)
        return file.table is None and file.size > LARGE

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
        return self._held.file(kind).sound()

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
        for values in (self._fresh, self._sizes, self._when):
            values.clear()
        self._held.forget()

    def drop(self, kind: str) -> None:
        """Nothing of this kind is known any more."""
        for values in (self._fresh, self._sizes, self._when):
            values.pop(kind, None)
        self._held.file(kind).drop()

    def _flush(self, kind: str) -> None:
        """What cannot be written is kept for ourselves, until it is much."""
        fresh = self._fresh.get(kind)
        if not fresh:
            return
        try:
            self._alive = self._held.file(kind).add(fresh, self._sizes[kind], self._alive)
        except OSError:
            size = self._sizes[kind]
            if size < HOLD:
                self._when[kind] = size + PIECE
                return
        for values in (self._fresh, self._sizes, self._when):
            values.pop(kind, None)


__all__ = ["PIECE", "Cache", "Column", "column_of"]
