"""The uiddb of the mailbox that a session reads and brings messages to, as it is on disk.

To read that file anew for each message, and to write all of it into a new one, would be most of what an
APPEND costs: all the more the larger the mailbox is.  So a session that brings messages keeps what it holds,
and lines that came are put behind those that are there, in the file itself, whose first line gets the next
number.  Its name is on the disk then, as a rule, and need not be synced again.  What a look numbers is put
there too (numbers.py).

Nobody sees half of that.  It happens under the mailbox's lock, and where nobody else, be it another program,
has the file open (fcntl(2), F_SETLEASE); who opens it in that moment waits, or tries again
(system/regular.py).  The next number is written first: a process that is killed behind it has used up a
number, and no more.  What a power loss leaves of lines that were not synced are numbers of messages that did
not come.  A next number that is longer, lines that go, and a file that has a name elsewhere too: then all is
written into a new file, which takes the place of the one before.
"""
from __future__ import annotations

import fcntl
import os

from courierpy.maildir.errors import StoreError, trouble
from courierpy.maildir.files import close, replace
from courierpy.maildir.formats import uiddb

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from courierpy.maildir.formats.uiddb import Key, UidDb
else:
    import _signal  # as in locks.py

UNIQUE = "imapuid_0"               # in names of files in tmp/


class KeptNumbers:
    """The uiddb of one mailbox, as one session knows it.

    ``host``: as it stands in names of files.  ``written``: what is known of the uiddb is what we wrote.  A
    process that is forked of ours begins without anything."""

    __slots__ = ("_fd", "_host", "_left", "_mine", "_named", "_path", "_pid", "written")

    def __init__(self, host: str) -> None:
        self._host = host
        self._path = ""
        self._pid = os.getpid()
        self._mine: UidDb | None = None
        self._fd = -1                  # leads to the file that holds it, which no other can be taken for then
        self._named = False            # that file's name is on the disk
        self.written = False
        self._left: tuple[int, ...] = ()       # as the directories of messages were, see leaves()

    @property
    def busy(self) -> bool:
        """Is anything kept that forget() gives back?"""
        return self._mine is not None

    def read(self, path: str, before: UidDb | None) -> UidDb | None:
        """As uiddb.read; where the file is as it is known, it is not read."""
        known = self.find(path)
        if known is not None:
            return known
        if before is None and path == self._path:
            before = self._mine
        found = uiddb.read(path, before)
        if found is not None and not found.damaged:
            self._keep(path, found)
        return found

    def find(self, path: str, stamp: Callable[[str], Key | None] = uiddb.asked) -> UidDb | None:
        """What the uiddb at ``path`` holds, where it is known; None otherwise.  ``stamp``: says which file is
        in a folder; uiddb.stamp() will do behind a find() under the same lock."""
        if self._mine is None or path != self._path or self._pid != os.getpid():
            return None
        try:
            return self._mine if stamp(os.path.dirname(path)) == self._mine.key else None
        except StoreError:
            return None                # who reads it says why

    def _keep(self, path: str, found: UidDb) -> None:
        """This is known of the file with its key."""
        if self._mine is None or path != self._path or self._pid != os.getpid() \
                or self._mine.key is None or found.key is None or self._mine.key[0] != found.key[0]:
            self.forget()
            try:
                self._fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
                if uiddb.key_of(os.fstat(self._fd)) != found.key:
                    self.forget()
                    return             # it is another one by now
            except OSError:
                return                 # or a link, or there are no descriptors: it will be read again
        self._path, self._mine, self.written = path, found, False

    def is_named(self, path: str) -> bool:
        """Is the name of what is at ``path`` on the disk?"""
        if not self._named or path != self._path or self._pid != os.getpid():
            return False
        try:
            return os.stat(path).st_ino == os.fstat(self._fd).st_ino
        except OSError:
            return False

    def named(self, path: str) -> None:
        """The directory of what is at ``path`` was synced since it was read or written."""
        if self._mine is not None and path == self._path and self._pid == os.getpid():
            self._named = True
            self._named = self.is_named(path)

    def write(self, path: str, tmp: str, database: UidDb) -> None:
        """Under the lock: the uiddb at ``path`` holds this from now on, on disk but, perhaps, for its name.
        ``tmp``: of the mailbox.  Raises a store error, and the uiddb is what it was."""
        before = self.find(path, uiddb.stamp)
        try:
            if before is None or not put_behind(path, before, database, sync=True):
                self.forget()
                head, *lines = database.pieces()
                replace(path, head, tmp, self._host, UNIQUE, sync=True, more=lines)
                database.key = uiddb.stamp(os.path.dirname(path))
        except BaseException:
            self.forget()
            raise
        self._keep(path, database)
        self.written = True

    def leaves(self, path: str, stamps: tuple[int, ...]) -> None:
        """Under the lock: all that is in the directories of messages has its number in the uiddb at ``path``,
        and they are as ``stamps`` says."""
        if self.find(path, uiddb.stamp) is not None:
            self._left = stamps

    def left_so(self, path: str, stamps: tuple[int, ...]) -> bool:
        """Has nobody brought or numbered a message since leaves()?"""
        return bool(stamps) and self._left == stamps and self.find(path, uiddb.stamp) is not None

    def forget(self) -> None:
        """Nothing is kept."""
        if self._fd >= 0 and self._pid == os.getpid():
            close(self._fd)
        self._mine, self._named, self._left, self.written = None, False, (), False
        self._fd, self._path, self._pid = -1, "", os.getpid()


def put_behind(path: str, before: UidDb, database: UidDb, sync: bool) -> bool:
    """Under the lock: put into the file at ``path``, which holds ``before``, what ``database`` has more; and
    ``sync`` it.  False: that cannot be done so.  Raises a store error, and the file is what it was."""
    lines = database.lines_behind(before)
    old, head = before.pieces()[0], database.pieces()[0]
    if not lines or before.key is None or len(head) != len(old):
        return False
    size = before.key[2]
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False                   # somebody else's
    try:
        if not _claim(fd):
            return False
        try:
            found = os.fstat(fd)
            # one with names elsewhere is that of a copy too, one without is not there any more
            if uiddb.key_of(found) != before.key or found.st_nlink != 1:
                return False
            try:
                _put(fd, head, 0)
                _put(fd, lines, size)
            except BaseException:
                _undo(fd, old, size)   # before anybody can open it
                raise
        finally:
            _give_back(fd)
        try:
            if sync:
                os.fsync(fd)
        except BaseException:
            _undo(fd, old, size)
            raise
        database.key = uiddb.key_of(os.fstat(fd))
        return True
    except OSError as error:
        raise trouble(path, error) from None
    finally:
        close(fd)


def _claim(fd: int) -> bool:
    """Has nobody else this file open?  Until _give_back() nobody opens it then."""
    try:
        # the default is a signal that would end us
        fcntl.fcntl(fd, fcntl.F_SETSIG, _signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        return False                   # or it is another user's, or this file system cannot tell
    return True


def _give_back(fd: int) -> None:
    """Who waits for it goes on."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        pass                           # it was taken from us: nobody waits


def _put(fd: int, data: bytes, at: int) -> None:
    while data:
        done = os.pwrite(fd, data, at)
        at, data = at + done, data[done:]


def _undo(fd: int, head: bytes, size: int) -> None:
    """The file is what it was; where not even that can be done, it has numbers of what did not come."""
    try:
        os.ftruncate(fd, size)
        _put(fd, head, 0)
    except OSError:
        pass
