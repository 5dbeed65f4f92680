"""``courierpyindex/``: what saves work the next time.  Derived, and may be deleted at any time.

``columns`` is a folder as it was at one moment: the stamps of its directories and
of the uiddb, and what a look at them gave.  It counts only while the stamps are
the same.  ``uids`` is a log of every number given: when the uiddb is lost or
damaged, the messages get their numbers back from it.  ``recent`` names messages
that are numbered and that no session was told to be recent yet.

Files are replaced whole, or grow at their end; a tail that a crash tore is cut
off.  All has checksums, and what is not whole is made anew.  They hold parts of the
mail, so nobody else may read them, and in a directory that others can write to
nothing is believed that others could have put there.  docs/index.md has the formats.
"""
from __future__ import annotations

import os
import stat
import struct
import time
from array import array
from functools import partial
from zlib import crc32

from courierpy.maildir.behind import rename_over
from courierpy.maildir.files import close, listed, open_as, remove, write_all
from courierpy.maildir.formats.uiddb import MAX_UID, NAME, UidDb
from courierpy.maildir.names import tmp_name
from courierpy.model.messages import Messages
from courierpy.model.numbers import decimal
from courierpy.model.regex import later
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import log
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from courierpy.maildir.formats.uiddb import Key

DIRECTORY = "courierpyindex"
COLUMNS, LOG, RECENT = "columns", "uids", "recent"
CACHE = "cache."               # begins the names of the files with computed values
THREADS = "threads."           # and of those with threads
MAGIC = b"courierpy 7\n" + struct.pack("=I", 0x01020304)       # the second word tells the byte order
_HEAD = struct.Struct("=16sI IIII II qQqq Qqq q II")
_CHECKS = struct.Struct("=II")     # of all but where lines begin, and of that
SMALL = 256                        # a folder with fewer messages may be read again: it needs no watch
LOG_SLACK = 1 << 16                # octets of dead lines in the log before it is written anew
RECENT_OCTETS = 4096               # of the file of recent messages, before its runs are put together
SCRATCH_AGE = 3600                 # seconds after which a file that was never finished is garbage
_RUN = later(rb"(\d{1,10}):(\d{1,10})")
_MARK = later(rb"(?<=\n)= ([0-9a-f]{8})\n")
MARK_OCTETS = 11                   # of one


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
    a row, -1 without one.  ``fine``: what changes later has other stamps, even in the same
    tick of the clock."""

    __slots__ = ("count", "fine", "first_unseen", "stamps", "uidnext", "uidvalidity", "unseen")

    def __init__(self, stamps: Stamps, uidvalidity: int, uidnext: int, count: int, unseen: int,
                 first_unseen: int, fine: bool = False) -> None:
        self.stamps = stamps
        self.fine = fine
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.count = count
        self.unseen = unseen
        self.first_unseen = first_unseen


class Columns:
    """A folder as it was.  ``messages``: its columns, with the UIDs of ``database``.  ``odd``: UID -> file
    name, where the name is more than the base name and the letters of the flags."""

    __slots__ = ("database", "head", "messages", "odd")

    def __init__(self, head: Head, database: UidDb, messages: Messages, odd: dict[int, bytes]) -> None:
        self.head = head
        self.database = database
        self.messages = messages
        self.odd = odd


class Index:
    """``path``: the folder; ``elsewhere``: a directory for the files of this folder
    instead of the one in it, as place() names it; ``inside``: the name of that one.
    ``rules``: by which values are computed now, for the cache."""

    __slots__ = ("_complained", "_elsewhere", "_ours", "folder", "host", "path", "rules")

    def __init__(self, path: str, host: str, elsewhere: str = "", inside: str = DIRECTORY) -> None:
        self.folder = path
        self.path = elsewhere or f"{path}/{inside}"
        self.host = host
        self.rules = bytes(20)
        self._elsewhere = bool(elsewhere)
        self._ours = not elsewhere               # nobody else can put anything there
        self._complained = False

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    # -- columns

    def head(self) -> Head | None:
        """The counts alone; None when there are none that hold."""
        data = self._read(COLUMNS, _HEAD.size)
        found = _head(data) if data is not None else None
        return found[0] if found else None

    def load(self) -> Columns | None:
        """None when there is nothing, or nothing whole.  Where the lines of the uiddb begin is not read
        before that is asked for: who selects a mailbox mostly does not."""
        found = _part(self, 0)
        if found is None:
            return None
        packed, head, odd_size, body = found
        try:
            odd = _unpack_odd(body[:odd_size])
            messages = Messages.unpack(memoryview(body)[odd_size:])
        except (ValueError, struct.error, IndexError):
            return None
        if len(messages) != head.count:
            return None
        database = UidDb(head.uidvalidity, head.uidnext, messages.uids, None, None, head.stamps.database,
                         later=partial(_lines, self, packed))
        return Columns(head, database, messages, odd)

    def save(self, columns: Columns) -> None:
        """May fail in silence: it only saves work."""
        head, database = columns.head, columns.database
        if not database.has_lines():
            return                     # what they were read from is not there any more
        odd = _pack_odd(columns.odd)
        body, lines = odd + columns.messages.pack(), database.lines.tobytes()
        stamps = head.stamps
        packed = _HEAD.pack(MAGIC, 0, head.uidvalidity, head.uidnext, head.count, len(odd),
                            head.unseen, head.first_unseen & 0xFFFFFFFF,
                            stamps.cur, stamps.inode, stamps.new, stamps.keywords,
                            *(stamps.database or (0, 0, -1)), head.fine, crc32(body), crc32(lines))
        packed = packed[:16] + struct.pack("=I", crc32(packed[20:])) + packed[20:]
        self.replace(COLUMNS, (packed, body, lines))
        self._sweep()

    # -- the log of numbers

    def remember(self, database: UidDb, gone: Iterable[int] = ()) -> None:
        """Write down what the log has not: call it under the folder's lock.  ``gone``: UIDs that no
        file of their names gets again."""
        try:
            fd = self.open(LOG, os.O_RDWR | os.O_APPEND)
            try:
                if _extend(fd, database, gone):
                    return
            finally:
                close(fd)
        except FileNotFoundError:
            if not database.uids and not os.path.isdir(self.path):
                return
        except OSError:
            return
        self.replace(LOG, (_log(database),))

    def recall(self, gone: bool = True) -> tuple[int, int, dict[bytes, int]] | None:
        """(UIDVALIDITY, the UID after the highest given, base name -> UID); None without a
        log, or with one that is not what was written.  ``gone``: also those of messages that are."""
        data = self._read(LOG)
        if data is None:
            return None
        names: dict[bytes, int] = {}
        struck: set[int] = set()
        highest = start = 0
        uidvalidity = None
        while start < len(data):
            end = data.find(b"\n= ", start) + 1
            mark = _MARK.match(data, end) if end else None
            block = data[start:end if mark else data.rfind(b"\n") + 1]
            if mark is not None and crc32(block) != int(mark[1], 16):
                return None
            lines = block.split(b"\n")[:-1]
            if start == 0:
                word, _, number = lines[0].rpartition(b" ") if lines else (b"", b"", b"")
                uidvalidity = decimal(number, 0xFFFFFFFF)
                if mark is None or word + b" %d" != _LOG_HEAD or not uidvalidity:
                    return None
                del lines[0]
            for line in lines:
                digits, _, name = line.partition(b" ")
                uid = decimal(digits, MAX_UID - 1)
                if uid:
                    highest = max(highest, uid)
                    if name and mark is not None:      # of lines that a crash cut the numbers alone count
                        names[name] = uid
                elif digits[:1] == b"-" and not gone and (uid := decimal(digits[1:], MAX_UID)) is not None:
                    struck.add(uid)
            start = mark.end() if mark is not None else len(data)
        if struck:
            names = {name: uid for name, uid in names.items() if uid not in struck}
        return (uidvalidity, highest + 1, names) if uidvalidity else None

    # -- recent messages that nobody was told of

    def unclaimed(self) -> UidSet:
        if not os.access(self.file(RECENT), os.F_OK):      # mostly, and at each look
            return NO_UIDS
        found = map(_RUN.fullmatch, (self._read(RECENT) or b"").split())
        pairs = sorted((int(run[1]), int(run[2])) for run in found if run is not None)
        return UidSet(pair for pair in pairs if 0 < pair[0] <= pair[1] <= MAX_UID)

    def unclaimed_stamp(self) -> int:
        """Nanoseconds: when unclaimed() last was something else; 0 while there is none."""
        try:
            return os.stat(self.file(RECENT)).st_mtime_ns
        except OSError:
            return 0

    def set_unclaimed(self, uids: UidSet, more: bool = False) -> None:
        """Call it under the folder's lock.  ``more``: these, and those that there are."""
        if more and _added(self, b"".join([b"%d:%d\n" % run for run in uids.runs])):
            return
        if more:
            uids |= self.unclaimed()
        if uids:
            self.replace(RECENT, [b"%d:%d\n" % run for run in uids.runs])
        elif self.trusted():
            remove(self.file(RECENT))

    # -- files

    def trusted(self) -> bool:
        """Can nobody else have put there what we find there?"""
        if not self._ours:
            mine = os.path.dirname(self.path)
            try:
                above, found = os.stat(os.path.dirname(mine)), os.lstat(mine)
            except OSError:
                return False
            # without the sticky bit whoever may write to the directory above can put another in this place
            self._ours = (stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
                          and not found.st_mode & 0o022
                          and (not above.st_mode & 0o022 or bool(above.st_mode & stat.S_ISVTX)))
        return self._ours

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a file; with O_CREAT the directory is made too.  Raises OSError."""
        if flags & os.O_CREAT:
            self._prepare()
        elif not self.trusted():
            raise FileNotFoundError
        mode = self._mode() & 0o660 if flags & os.O_CREAT else 0
        return open_regular(self.file(name), flags | os.O_NOFOLLOW, mode)

    def give_up(self) -> bool:
        """Room is needed: what saves only work goes.  True if there was anything."""
        if self._elsewhere or not self.trusted():
            return False
        found = False
        for entry in listed(self.path):
            if entry.name == COLUMNS or entry.name.startswith((CACHE, THREADS)):
                remove(entry.path)
                found = True
        return found

    def _prepare(self) -> None:
        """Make the directory.  Raises OSError where there can be none that is ours alone."""
        if os.path.isdir(self.path) and self.trusted():
            return
        if self._elsewhere and not os.path.isdir(self.folder):
            raise FileNotFoundError(self.folder)       # it was removed, and its index too
        if self._elsewhere and not self.trusted():
            mine = os.path.dirname(self.path)
            try:
                os.mkdir(mine, 0o700)
            except FileExistsError:
                pass
            except OSError as error:
                self._complain(f"{mine}: {error.strerror}")
                raise
            if not self.trusted():
                self._complain(f"{mine} is not ours alone")
                raise PermissionError(mine)
        try:
            os.mkdir(self.path, self._mode())
        except FileExistsError:
            return

    def _mode(self) -> int:
        """With which the directory is made."""
        return 0o700 if self._elsewhere else open_as(self.folder)

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            log.warn(f"{why}: {os.path.abspath(self.folder)} has no index")

    def _read(self, name: str, size: int = -1) -> bytes | None:
        try:
            with open(self.open(name), "rb", buffering=0) as file:
                return file.read(size) if size >= 0 else file.readall()
        except OSError:
            return None

    def scratch(self) -> tuple[int, str]:
        """A new file that may become one of the index: descriptor and path.  Raises OSError."""
        self._prepare()
        # in the Maildir there is a place where garbage of a crash is cleaned away
        path = os.path.join(self.path if self._elsewhere else os.path.join(self.folder, "tmp"),
                            tmp_name(self.host, "index"))
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                       self._mode() & 0o660), path

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """A file in place of the one that was there.  May fail in silence: a disk or a user
        that may not write works without."""
        try:
            fd, path = self.scratch()
        except OSError:
            return
        try:
            try:
                write_all(fd, b"".join(pieces))
            finally:
                close(fd)
            rename_over(path, self.file(name))
        except OSError:
            remove(path)

    def _sweep(self) -> None:
        """Garbage that crashed sessions left in a directory outside the Maildir."""
        if not self._elsewhere or not self.trusted():
            return
        for entry in listed(self.path):
            try:
                if entry.name[:1].isdigit() and time.time() - entry.stat().st_mtime > SCRATCH_AGE:
                    remove(entry.path)
            except OSError:
                continue               # it is gone


def _part(index: Index, part: int) -> tuple[bytes, Head, int, bytes] | None:
    """(The header, what it says, octets of the odd names, a part of the rest: 0 for all but the lines, 1
    for these); None as load()."""
    try:
        fd = index.open(COLUMNS)
    except OSError:
        return None
    try:
        packed = os.read(fd, _HEAD.size)
        found = _head(packed)
        if found is None:
            return None
        head, odd_size = found
        size = os.fstat(fd).st_size
        lines = max(_HEAD.size, size - 4 * head.count)
        data = os.pread(fd, size - lines, lines) if part else os.pread(fd, lines - _HEAD.size, _HEAD.size)
    except OSError:
        return None
    finally:
        close(fd)
    return (packed, head, odd_size, data) if crc32(data) == _CHECKS.unpack_from(
        packed, _HEAD.size - _CHECKS.size)[part] else None


def _lines(index: Index, packed: bytes) -> array[int] | None:
    """Where the lines begin, by the file with this header; None where another one is there by now."""
    found = _part(index, 1)
    if found is None or found[0] != packed:
        return None
    return array("I", found[3])


def _extend(fd: int, database: UidDb, gone: Iterable[int]) -> bool:
    """Add to the log what is new; False when it should be written anew.  Raises OSError."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, 1024, max(0, size - 1024))
    head = os.pread(fd, 64, 0) if size > len(tail) else tail
    # mostly there is nothing behind it
    mark = _MARK.match(tail, len(tail) - MARK_OCTETS) or [None, *_MARK.finditer(tail)][-1]
    if head.partition(b"\n")[0] != _LOG_HEAD % database.uidvalidity or mark is None \
            or size > 2 * database.octets + LOG_SLACK:
        return False
    last = tail[:mark.start() - 1].rpartition(b"\n")[2].partition(b" ")[0]
    rows = database.after(decimal(last, MAX_UID) or 0)
    struck = b"".join(b"-%d\n" % uid for uid in gone)
    if struck:                     # a block ends with the highest number
        rows += struck + b"%d \n" % (database.uidnext - 1)
    if mark.end() < len(tail):         # a crash cut the lines behind it
        os.ftruncate(fd, size - len(tail) + mark.end())
    if rows:
        write_all(fd, _marked(rows))
    return True


def _added(index: Index, lines: bytes) -> bool:
    """Were these put behind the recent messages that there are, in a file that is not too long?"""
    try:
        fd = index.open(RECENT, os.O_WRONLY | os.O_APPEND)
    except OSError:
        return False
    try:
        if os.fstat(fd).st_size >= RECENT_OCTETS:
            return False
        write_all(fd, lines)
        return True
    except OSError:
        return False
    finally:
        close(fd)


def _head(data: bytes) -> tuple[Head, int] | None:
    """(counts, octets of odd names)."""
    if len(data) < _HEAD.size or data[:16] != MAGIC:
        return None
    (_, check, uidvalidity, uidnext, count, odd_size, unseen, first, cur, inode, new, keywords, ino, mtime,
     size, fine, _, _) = _HEAD.unpack_from(data)
    if crc32(data[20:_HEAD.size]) != check:
        return None
    stamps = Stamps(cur, inode, new, keywords, (ino, mtime, size) if size >= 0 else None)
    first = -1 if first == 0xFFFFFFFF else first
    return Head(stamps, uidvalidity, uidnext, count, unseen, first, bool(fine)), odd_size


def _pack_odd(odd: Mapping[int, bytes]) -> bytes:
    """How many; UIDs; the names, with a slash between, which no name has."""
    return struct.pack("=I", len(odd)) + array("I", odd).tobytes() + b"/".join(odd.values())


def _unpack_odd(data: bytes) -> dict[int, bytes]:
    count: int = struct.unpack_from("=I", data)[0]
    if not count:
        return {}
    uids = array("I")
    uids.frombytes(data[4:4 + 4 * count])
    return dict(zip(uids, data[4 + 4 * count:].split(b"/"), strict=True))


_LOG_HEAD = b"courierpy uids 2 %d"


def _marked(lines: bytes) -> bytes:
    """Lines of the log with their checksum behind them."""
    return b"%s= %08x\n" % (lines, crc32(lines))


def _log(database: UidDb) -> bytes:
    """The log of a folder that has only these."""
    rest = b"%d \n" % (database.uidnext - 1) if database.uidnext > 1 else b""
    rows = database.text if database.body is not None else b""
    return _marked(_LOG_HEAD % database.uidvalidity + b"\n" + rows + rest)


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
    return os.path.join(base, str(os.geteuid()), os.fsdecode(name))


__all__ = ["DIRECTORY", "NAME", "Columns", "Head", "Index", "Stamps", "place"]
