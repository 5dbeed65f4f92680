"""What STATUS found in each folder of an account, and what each folder looked like then.

A client asks for the counts of all its folders every few minutes, and next to none of
them has changed: a folder whose stamps are the same is not opened.  Kept in the index
of the Maildir itself; a row a folder, as true as its stamps and no truer.
"""
from __future__ import annotations

import os
import time
from operator import itemgetter
from struct import Struct
from struct import error as StructError
from zlib import crc32

from courierpy.maildir import directory
from courierpy.maildir.errors import FolderMissing, trouble
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import Stamps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.maildir.index.columns import Index

    Known = tuple[tuple[int, ...], "Status"]           # the numbers of a row, and what they count

FILE = "counts"
HEAD = b"courierpy counts 3 %08x\n"
OLD = int(directory.COARSE_GRAIN * 1e9)      # nanoseconds after which a time is settled anywhere
_COUNT = Struct("<I")              # of the rows, which follow; behind them all paths, a line each
_ROW = Struct("<qQqQqqqqqqqqq")    # of a folder
# which of the numbers are those that unchanged() goes by, all stamps, the counts, and the stamp of what is
# recent and unclaimed
LOOKED_AT, STAMPS, COUNTED, UNCLAIMED = slice(6), slice(7), slice(7, 12), 12
NOT_THERE = -1                     # size of a uiddb that is not there
_UIDDB = "/" + uiddb.NAME


class Status(tuple[int, int, int, int, int]):
    """Counts without opening, of the five numbers in their order: RFC 9051 6.3.11.  A tuple, as each mailbox
    of an account has one, which is made of a row in one step."""

    __slots__ = ()
    messages, recent, uidnext, uidvalidity, unseen = map(property, map(itemgetter, range(5)))


def stamp(path: str, keywords: str, sure: bool = True) -> Stamps | None:
    """Identities of the directories and the uiddb of a folder; None when one is too young to
    trust, if that is to be ``sure``.  ``keywords``: their directory below the folder's, "" where they
    are off.  FolderMissing without cur/ or new/."""
    words = 0
    try:
        where = path + "/cur"
        cur = os.stat(where)
        where = path + "/new"
        new = os.stat(where)
    except (FileNotFoundError, NotADirectoryError):
        raise FolderMissing(where) from None
    except OSError as error:
        raise trouble(where, error) from None
    if keywords:
        try:
            words = os.stat(f"{path}/{keywords}").st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            words = 0
        except OSError:
            return None                # who reads it says why
    database = uiddb.stamp(path)
    times = cur.st_mtime_ns, new.st_mtime_ns, words, database[1] if database else 0
    now = time.time_ns()
    if sure and now - max(times) <= OLD and not all(directory.settled(when, now) for when in times if when):
        return None
    return Stamps(times[0], cur.st_ino, times[1], words, database)


class Counts:
    """The counts of all mailboxes of an account, as STATUS found them.

    ``index``: that of the Maildir.  ``unclaimed``: function (path of a folder) giving its
    Index.unclaimed_stamp()."""

    __slots__ = ("_known", "_new", "_rows", "_unclaimed", "index")

    def __init__(self, index: Index, unclaimed: Callable[[str], int]) -> None:
        self.index = index
        self._unclaimed = unclaimed
        self.forget()

    def forget(self) -> None:
        """Nothing is known but what is on disk."""
        self._known: dict[str, Known] = {}
        self._rows: dict[str, bytes] | None = None     # as they were on disk, by path
        self._new = False

    def find(self, path: str, stamps: Stamps | None) -> Status | None:
        """What is known of a folder that looks like this."""
        known = self._find(path)
        same = known is not None and stamps is not None and known[0][STAMPS] == _numbers(stamps)
        return known[1] if known is not None and same else None

    def _find(self, path: str) -> Known | None:
        """What is known, unless somebody has claimed since what is recent: no stamp shows that."""
        known = self._known.get(path) or self._read(path)
        unclaimed = known[0][UNCLAIMED] if known is not None else 0
        return known if not unclaimed or unclaimed == self._unclaimed(path) else None

    def unchanged(self, path: str) -> Status | None:
        """What is known of a folder that looks as it did then; no more is looked at than the counts go by,
        which keywords are not."""
        known = self._known.get(path) or self._read(path)
        if known is None:
            return None
        stat = os.stat
        try:
            cur, database = stat(path + "/cur"), stat(path + _UIDDB)
            if (cur.st_mtime_ns, cur.st_ino, stat(path + "/new").st_mtime_ns, database.st_ino,
                    database.st_mtime_ns, database.st_size) != known[0][LOOKED_AT]:
                return None
        except OSError:
            return None                # whoever opens it says why
        return known[1] if not known[0][UNCLAIMED] or self._find(path) is not None else None

    def put(self, path: str, stamps: Stamps, status: Status, unclaimed: int) -> None:
        """``unclaimed``: the stamp of what is recent and unclaimed, which must be settled."""
        self._known[path] = (*_numbers(stamps), *status, unclaimed), status
        self._new = True

    def save(self) -> None:
        """May fail in silence: it only saves work."""
        if self._new:
            self._rows = None          # another session may have saved what it found
            rows = {path: row for path, row in self._load().items()
                    if path in self._known or os.path.isdir(path)}
            for path, (numbers, _) in self._known.items():
                try:
                    rows[path] = _ROW.pack(*numbers)
                except StructError:    # times of another age
                    rows.pop(path, None)
            rows = {path: row for path, row in rows.items() if "\n" not in path}
            body = b"".join([_COUNT.pack(len(rows)), *rows.values(), os.fsencode("\n".join(rows))])
            self.index.replace(FILE, (HEAD % crc32(body), body))
            self._new = False

    def _read(self, path: str) -> Known | None:
        """What a session before this one knew."""
        row = (self._rows if self._rows is not None else self._load()).get(path)
        if row is None:
            return None
        numbers = _ROW.unpack(row)
        found = self._known[path] = numbers, Status(numbers[COUNTED])
        return found

    def _load(self) -> dict[str, bytes]:
        if self._rows is None:
            self._rows = {}
            try:
                with open(self.index.open(FILE), "rb", buffering=0) as file:
                    head, _, body = file.readall().partition(b"\n")
            except OSError:
                return self._rows
            start = _COUNT.size
            if head + b"\n" != HEAD % crc32(body) or len(body) < start:
                return self._rows
            end = start + _COUNT.unpack_from(body)[0] * _ROW.size
            if end <= len(body):
                rows = [body[at:at + _ROW.size] for at in range(start, end, _ROW.size)]
                self._rows = dict(zip(os.fsdecode(body[end:]).split("\n"), rows, strict=False))
        return self._rows


def _numbers(stamps: Stamps) -> tuple[int, ...]:
    """As they begin a row."""
    return stamps.cur, stamps.inode, stamps.new, *(stamps.database or (0, 0, NOT_THERE)), stamps.keywords
