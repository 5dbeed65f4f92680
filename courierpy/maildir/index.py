"""``courierpyindex/``: what saves work the next time.  Derived, and may be deleted at any time.

``columns`` is a folder as it was at one moment: the stamps of its directories and
of the uiddb, and what a look at them gave.  It counts only while the stamps are
the same.  ``uids`` is a log of every number given: when the uiddb is lost or
damaged, the messages get their numbers back from it.  ``recent`` names messages
that are numbered and that no session was told to be recent yet.

Files are replaced whole, or grow at their end; a tail that a crash tore is
passed over.  docs/index.md has the formats.
"""
from __future__ import annotations

import os
import struct
import time
from array import array
from zlib import crc32

from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import remove, replace, write_all
from courierpy.maildir.uiddb import NAME, UidDb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from courierpy.maildir.uiddb import Key

DIRECTORY = "courierpyindex"
COLUMNS, LOG, RECENT = "columns", "uids", "recent"
MAGIC = b"courierpy 1\n" + struct.pack("=I", 0x01020304)       # the second word tells the byte order
_HEAD = struct.Struct("=16sI IIII II 4q 3q qI I")
SMALL = 256                        # a folder with fewer messages is read faster than an index
LOG_SLACK = 1 << 16                # octets of dead lines in the log before it is written anew


class Stamps:
    """When and as what the folder was seen: ``cur``, ``new``, ``keywords``: mtime in
    nanoseconds (0: not there); ``inode`` of cur/; ``database``: key of the uiddb."""

    __slots__ = ("cur", "database", "inode", "keywords", "new")

    def __init__(self, cur: int, inode: int, new: int, keywords: int, database: Key | None) -> None:
        self.cur = cur
        self.inode = inode
        self.new = new
        self.keywords = keywords
        self.database = database

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamps) and self.same_but_new(other) and self.new == other.new

    def __hash__(self) -> int:
        return hash((self.cur, self.new))

    def same_but_new(self, other: Stamps) -> bool:
        return ((self.cur, self.inode, self.keywords, self.database)
                == (other.cur, other.inode, other.keywords, other.database))


class Head:
    """The counts, for who does not need more.  ``unseen``: messages; ``first_unseen``:
    a row, -1 without one."""

    __slots__ = ("count", "first_unseen", "stamps", "uidnext", "uidvalidity", "unseen")

    def __init__(self, stamps: Stamps, uidvalidity: int, uidnext: int, count: int, unseen: int,
                 first_unseen: int) -> None:
        self.stamps = stamps
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.count = count
        self.unseen = unseen
        self.first_unseen = first_unseen


class Columns:
    """A folder as it was.  ``odd``: UID -> file name, where the name is more than the
    base name and the letters of the flags.  ``keywords``: by UID."""

    __slots__ = ("database", "flags", "head", "keywords", "odd")

    def __init__(self, head: Head, database: UidDb, flags: bytes, odd: dict[int, bytes],
                 keywords: dict[int, frozenset[bytes]]) -> None:
        self.head = head
        self.database = database
        self.flags = flags
        self.odd = odd
        self.keywords = keywords


class Index:
    """``path``: the folder; ``elsewhere``: a directory for the files of this folder
    instead of the one in it."""

    def __init__(self, path: str, host: str, elsewhere: str = "") -> None:
        self.folder = path
        self.path = elsewhere or os.path.join(path, DIRECTORY)
        self.host = host
        self._tmp = elsewhere or os.path.join(path, "tmp")       # where garbage of a crash is cleaned away

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    # -- columns

    def head(self) -> Head | None:
        """The counts alone; None when there are none that hold."""
        data = self._read(COLUMNS, _HEAD.size)
        found = _head(data) if data is not None else None
        return found[0] if found else None

    def load(self) -> Columns | None:
        """None when there is nothing, or nothing whole."""
        data = self._read(COLUMNS)
        found = _head(data) if data is not None else None
        if data is None or found is None:
            return None
        head, crc, odd_size = found
        body = memoryview(data)[_HEAD.size:]
        if crc32(body) != crc:
            return None
        count = head.count
        try:
            uids, lines = array("I"), array("I")
            uids.frombytes(body[:4 * count])
            lines.frombytes(body[4 * count:8 * count])
            flags = bytes(body[8 * count:9 * count])
            odd = _unpack_odd(body[9 * count:9 * count + odd_size])
            keywords = _unpack_keywords(bytes(body[9 * count + odd_size:]))
        except (ValueError, struct.error, IndexError):
            return None
        if len(flags) != count:
            return None
        database = UidDb(head.uidvalidity, head.uidnext, uids, None, lines, head.stamps.database)
        return Columns(head, database, flags, odd, keywords)

    def save(self, columns: Columns) -> None:
        """May fail in silence: it only saves work."""
        head, database = columns.head, columns.database
        odd = b"".join(struct.pack("=IH", uid, len(name)) + name for uid, name in columns.odd.items())
        body = b"".join((database.uids.tobytes(), database.lines.tobytes(), columns.flags, odd,
                         _pack_keywords(columns.keywords)))
        stamps = head.stamps
        packed = _HEAD.pack(MAGIC, 0, head.uidvalidity, head.uidnext, head.count, len(odd),
                            head.unseen, head.first_unseen & 0xFFFFFFFF,
                            stamps.cur, stamps.inode, stamps.new, stamps.keywords,
                            *(stamps.database or (0, 0, -1)), time.time_ns(), crc32(body), 0)
        packed = packed[:16] + struct.pack("=I", crc32(packed[20:])) + packed[20:]
        self._replace(COLUMNS, packed + body)

    # -- the log of numbers

    def remember(self, database: UidDb) -> None:
        """Write down what the log has not: call it under the folder's lock."""
        path = self._file(LOG)
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            if database.uids or os.path.isdir(self.path):
                self._replace(LOG, _log(database))
            return
        except OSError:
            return
        try:
            size = os.fstat(fd).st_size
            head = os.pread(fd, 64, 0).partition(b"\n")[0]
            if head != b"courierpy uids %d" % database.uidvalidity \
                    or size > 2 * len(database.body or b"") + LOG_SLACK:
                self._replace(LOG, _log(database))
                return
            tail = os.pread(fd, 1024, max(0, size - 1024))
            last = tail.rstrip(b"\n").rpartition(b"\n")[2].partition(b" ")[0]
            if not last.isdigit():
                last = head and b"0"                   # only the first line is there
            known = int(last)
            torn = b"" if tail.endswith(b"\n") else b"\n"
            rows = database.after(known)
            if rows or torn:
                write_all(fd, torn + rows)
        except (OSError, ValueError):
            return
        finally:
            os.close(fd)

    def recall(self) -> tuple[int, int, dict[bytes, int]] | None:
        """(UIDVALIDITY, the UID after the highest given, base name -> UID); None without a log."""
        data = self._read(LOG)
        if data is None:
            return None
        head, *lines = data.split(b"\n")
        word, _, number = head.rpartition(b" ")
        if word != b"courierpy uids" or not number.isdigit() or not 0 < int(number) <= 0xFFFFFFFF:
            return None
        names: dict[bytes, int] = {}
        highest = 0
        for line in lines[:-1]:
            uid, _, name = line.partition(b" ")
            if uid.isdigit() and 0 < int(uid) < 0xFFFFFFFF:
                highest = max(highest, int(uid))
                if name:
                    names[name] = int(uid)
        return int(number), highest + 1, names

    # -- recent messages that nobody was told of

    def unclaimed(self) -> list[int]:
        data = self._read(RECENT)
        return [int(word) for word in data.split() if word.isdigit()] if data else []

    def any_unclaimed(self) -> bool:
        return os.path.exists(self._file(RECENT))

    def set_unclaimed(self, uids: Sequence[int]) -> None:
        """Call it under the folder's lock."""
        if uids:
            self._replace(RECENT, b"".join(b"%d\n" % uid for uid in uids))
        else:
            remove(self._file(RECENT))

    # -- files

    def _read(self, name: str, size: int = -1) -> bytes | None:
        try:
            with open(self._file(name), "rb", buffering=0) as file:
                return file.read(size) if size >= 0 else file.readall()
        except OSError:
            return None

    def _replace(self, name: str, data: bytes) -> None:
        path = self._file(name)
        for _ in range(2):
            try:
                replace(path, data, self._tmp, self.host, name, sync=False)
                return
            except StoreError:
                try:
                    os.makedirs(self.path, 0o700)
                except OSError:
                    return             # a disk or a user that may not write works without


def _head(data: bytes) -> tuple[Head, int, int] | None:
    """(counts, crc of the body, octets of odd names)."""
    if len(data) < _HEAD.size or data[:16] != MAGIC:
        return None
    (_, check, uidvalidity, uidnext, count, odd_size, unseen, first, cur, inode, new, keywords, ino, mtime,
     size, _, crc, _) = _HEAD.unpack_from(data)
    if crc32(data[20:_HEAD.size]) != check:
        return None
    stamps = Stamps(cur, inode, new, keywords, (ino, mtime, size) if size >= 0 else None)
    first = -1 if first == 0xFFFFFFFF else first
    return Head(stamps, uidvalidity, uidnext, count, unseen, first), crc, odd_size


def _unpack_odd(data: memoryview) -> dict[int, bytes]:
    odd = {}
    at = 0
    while at < len(data):
        uid, length = struct.unpack_from("=IH", data, at)
        at += 6
        odd[uid] = bytes(data[at:at + length])
        at += length
    return odd


def _pack_keywords(keywords: Mapping[int, frozenset[bytes]]) -> bytes:
    """The sets, a line each; then UIDs and numbers of sets."""
    numbers: dict[frozenset[bytes], int] = {}
    uids, which = array("I", keywords), array("I")
    for words in keywords.values():
        which.append(numbers.setdefault(words, len(numbers)))
    sets = b"".join(b" ".join(sorted(words)) + b"\n" for words in numbers)
    return struct.pack("=II", len(sets), len(uids)) + sets + uids.tobytes() + which.tobytes()


def _unpack_keywords(data: bytes) -> dict[int, frozenset[bytes]]:
    size, count = struct.unpack_from("=II", data)
    if not count:
        return {}
    sets = [frozenset(line.split(b" ")) for line in data[8:8 + size].split(b"\n")[:-1]]
    uids, which = array("I"), array("I")
    uids.frombytes(data[8 + size:8 + size + 4 * count])
    which.frombytes(data[8 + size + 4 * count:8 + size + 8 * count])
    return dict(zip(uids, map(sets.__getitem__, which), strict=True))


def _log(database: UidDb) -> bytes:
    """The log of a folder that has only these."""
    rest = b"%d \n" % (database.uidnext - 1) if database.uidnext > 1 else b""
    return b"courierpy uids %d\n%s%s" % (database.uidvalidity, database.body or b"", rest)


def place(folder: str, base: str) -> str:
    """The directory below ``base`` for the index of a folder: one name for each Maildir
    directory of each user."""
    if not base:
        return ""
    real = os.fsencode(os.path.realpath(folder))
    name = real.replace(b"%", b"%25").replace(b"/", b"%2F")
    if len(name) > 200:
        from hashlib import sha256
        name = sha256(real).hexdigest().encode()
    return os.path.join(base, str(os.getuid()), os.fsdecode(name))


__all__ = ["DIRECTORY", "NAME", "Columns", "Head", "Index", "Stamps", "place"]
