"""What STATUS found in each folder of an account, and what each folder looked like then.

A client asks for the counts of all its folders every few minutes, and next to none of
them has changed: a folder whose stamps are the same is not opened.  Kept in the index
of the Maildir itself; a line a folder, as true as its stamps and no truer.
"""
from __future__ import annotations

import os
import time
from zlib import crc32

from courierpy.maildir import directory
from courierpy.maildir.errors import FolderMissing, trouble
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import Stamps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.maildir.index.columns import Index

    # the numbers of a line, and those of them that unchanged() goes by
    Known = tuple[tuple[int, ...], "Status", tuple[int, ...]]

FILE = "counts"
HEAD = b"courierpy counts 2 %08x\n"
OLD = int(directory.COARSE_GRAIN * 1e9)      # nanoseconds after which a time is settled anywhere
NUMBERS = 13                       # of a line; the folder's path follows
# which of them are the stamps, the counts, and the stamp of what is recent and unclaimed
SEEN, DATABASE, STAMPS, COUNTED, UNCLAIMED = slice(3), slice(4, 7), slice(7), slice(7, 12), 12
NOT_THERE = -1                     # size of a uiddb that is not there
_UIDDB = "/" + uiddb.NAME


class Status:
    """Counts without opening: RFC 9051 6.3.11."""

    __slots__ = ("messages", "recent", "uidnext", "uidvalidity", "unseen")

    def __init__(self, messages: int, recent: int, uidnext: int, uidvalidity: int, unseen: int) -> None:
        self.messages = messages
        self.recent = recent
        self.uidnext = uidnext
        self.uidvalidity = uidvalidity
        self.unseen = unseen


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
    """``index``: that of the Maildir.  ``unclaimed``: function (path of a folder) giving its
    Index.unclaimed_stamp()."""

    __slots__ = ("_known", "_lines", "_new", "_unclaimed", "index")

    def __init__(self, index: Index, unclaimed: Callable[[str], int]) -> None:
        self.index = index
        self._unclaimed = unclaimed
        self._known: dict[str, Known] = {}
        self._lines: dict[bytes, bytes] | None = None      # as they were on disk: path -> numbers
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
                    database.st_mtime_ns, database.st_size) != known[2]:
                return None
        except OSError:
            return None                # whoever opens it says why
        return known[1] if not known[0][UNCLAIMED] or self._find(path) is not None else None

    def put(self, path: str, stamps: Stamps, status: Status, unclaimed: int) -> None:
        """``unclaimed``: the stamp of what is recent and unclaimed, which must be settled."""
        self._keep(path, (*_numbers(stamps), status.messages, status.recent, status.uidnext,
                          status.uidvalidity, status.unseen, unclaimed), status)
        self._new = True

    def _keep(self, path: str, numbers: tuple[int, ...], status: Status) -> Known:
        found = self._known[path] = numbers, status, (*numbers[SEEN], *numbers[DATABASE])
        return found

    def save(self) -> None:
        """May fail in silence: it only saves work."""
        if self._new:
            self._lines = None         # another session may have saved what it found
            lines = {path: numbers for path, numbers in self._load().items()
                     if os.fsdecode(path) in self._known or os.path.isdir(path)}
            for path, (numbers, *_) in self._known.items():
                lines[os.fsencode(path)] = b" ".join([b"%d" % number for number in numbers])
            body = b"".join([b"%s %s\n" % (numbers, path) for path, numbers in lines.items()
                             if b"\n" not in path])
            self.index.replace(FILE, (HEAD % crc32(body), body))
            self._new = False

    def _read(self, path: str) -> Known | None:
        """What a session before this one knew."""
        lines = self._lines if self._lines is not None else self._load()
        line = lines.get(os.fsencode(path))
        if line is None:
            return None
        numbers = tuple(map(int, line.split(b" ")))
        return self._keep(path, numbers, Status(*numbers[COUNTED]))

    def _load(self) -> dict[bytes, bytes]:
        if self._lines is None:
            self._lines = {}
            try:
                with open(self.index.open(FILE), "rb", buffering=0) as file:
                    head, _, body = file.readall().partition(b"\n")
            except OSError:
                return self._lines
            if head + b"\n" == HEAD % crc32(body):
                for line in body.split(b"\n")[:-1]:
                    *_, path = line.split(b" ", NUMBERS)
                    self._lines[path] = line[:-len(path) - 1]
        return self._lines


def _numbers(stamps: Stamps) -> tuple[int, ...]:
    """As they begin a line."""
    return stamps.cur, stamps.inode, stamps.new, stamps.keywords, *(stamps.database or (0, 0, NOT_THERE))
