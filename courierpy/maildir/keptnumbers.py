"""The uiddb that a session has written itself, for a mailbox that it brings messages to again and again.

For each message that comes the uiddb is written anew, synced, and put in the place of the one before.  To
read that one first, and to make and remove a file each time, would be most of what an APPEND costs: all the
more the larger the mailbox is, and on a disk that is told of each block that is free.  So a session that does
it several times in a row keeps its last uiddb open, so that nobody else's file can be taken for it, and what
it holds.  The one before that stays in tmp/ as a spare: it is written over, mostly just its first line and
those that came, and changes place with the one that is there.

Nobody sees half of a file that is written over.  It is in tmp/ meanwhile, where nobody looks for it, and
whoever opened it when it was the uiddb, be it another program, keeps us from writing to it (fcntl(2),
F_SETLEASE).  Who opens it in that moment waits, or tries again (system/regular.py).
"""
from __future__ import annotations

import fcntl
import os
import time

from courierpy.maildir.behind import rename_over
from courierpy.maildir.errors import trouble
from courierpy.maildir.files import close, remove, replace, write_all
from courierpy.maildir.formats.uiddb import key_of
from courierpy.maildir.names import tmp_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from courierpy.maildir.formats.uiddb import UidDb
else:
    import _signal  # as in locks.py

SOON = 2.0                         # seconds between two writings in a row
UNIQUE = "imapuid_0"               # in names of files in tmp/


class NumbersFile:
    """A uiddb that is about to be, at ``name``: a new file, or a spare one.  ``head``, ``lines``: octets of
    its first line and of the others, as far as they need not be written again; 0 and 0 for nothing."""

    __slots__ = ("fd", "head", "lines", "name")

    def __init__(self, name: str, fd: int, head: int = 0, lines: int = 0) -> None:
        self.name = name
        self.fd = fd
        self.head = head
        self.lines = lines

    def claim(self) -> bool:
        """Has nobody else it open?  Until give_back() nobody opens it then."""
        try:
            found = os.stat(self.name)
            if found.st_nlink != 1 or not os.path.samestat(found, os.fstat(self.fd)):
                return False           # it has names elsewhere: of a copy, or in a mailbox that was renamed
            # the default is a signal that would end us
            fcntl.fcntl(self.fd, fcntl.F_SETSIG, _signal.SIGURG)
            fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False               # or this file system cannot tell
        return True

    def give_back(self) -> None:
        """Who waits for it goes on."""
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            pass                       # it is new, or was taken from us: nobody waits

    def write(self, head: bytes, lines: bytes) -> None:
        """It becomes this, and is on disk.  Raises OSError."""
        start = self.lines if len(head) == self.head else 0
        if not start:
            os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        write_all(self.fd, head)
        os.lseek(self.fd, start, os.SEEK_CUR)
        write_all(self.fd, lines[start:])
        os.fsync(self.fd)

    def end(self) -> None:
        """Away with it."""
        close(self.fd)
        remove(self.name)


class KeptNumbers:
    """``host``: as it stands in names of files.  A process that is forked of ours begins without anything."""

    __slots__ = ("_fd", "_host", "_mine", "_path", "_pid", "_since", "_spare")

    def __init__(self, host: str) -> None:
        self._host = host
        self._path = ""
        self._since = 0.0
        self._pid = os.getpid()
        self._mine: UidDb | None = None
        self._fd = -1                  # of the file that holds it
        self._spare: NumbersFile | None = None

    @property
    def busy(self) -> bool:
        """Is anything kept that forget() gives back?"""
        return self._mine is not None

    def find(self, path: str) -> UidDb | None:
        """What the uiddb at ``path`` holds, where it is the one that we have written; None otherwise."""
        if self._mine is None or path != self._path or self._pid != os.getpid():
            return None
        try:
            return self._mine if key_of(os.stat(path)) == self._mine.key else None
        except OSError:
            return None                # who reads it says why

    def write(self, path: str, tmp: str, database: UidDb) -> None:
        """Under the lock: the uiddb at ``path`` holds this from now on, on disk but for its name.  ``tmp``:
        of the mailbox.  Raises a store error, and the uiddb is what it was."""
        now = time.monotonic()
        again = path == self._path and now - self._since < SOON and self._pid == os.getpid()
        if not again:
            self.forget()
        self._path, self._since = path, now
        if again:
            self._change(path, tmp, database)
        else:                          # most sessions bring one message
            head, *lines = database.pieces()
            replace(path, head, tmp, self._host, UNIQUE, sync=True, more=lines)

    def _change(self, path: str, tmp: str, database: UidDb) -> None:
        before = self.find(path)
        text = database.text
        grows = before is not None and text.startswith(before.text)
        file = self._file(tmp, grows)
        aside = ""
        try:
            file.write(database.pieces()[0], text)
            file.give_back()           # before it has its name: many open that, and would be refused
            aside = self._set_aside(path, tmp) if before is not None else ""
            rename_over(file.name, path)
        except BaseException as why:
            file.end()
            remove(aside)
            self.forget()
            if isinstance(why, OSError):
                raise trouble(path, why) from None
            raise
        if before is not None and aside:
            sizes = (len(before.pieces()[0]), len(before.text)) if grows else (0, 0)
            self._spare = NumbersFile(aside, self._fd, *sizes)
        elif self._fd >= 0:
            close(self._fd)
        database.key = key_of(os.fstat(file.fd))
        self._mine, self._fd = database, file.fd

    def _file(self, tmp: str, grows: bool) -> NumbersFile:
        """The spare, or a new one.  ``grows``: what is written begins with all that is there."""
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.claim():
                return spare if grows else NumbersFile(spare.name, spare.fd)
            spare.end()
        name = os.path.join(tmp, tmp_name(self._host, UNIQUE))
        try:
            return NumbersFile(name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            raise trouble(name, error) from None

    def _set_aside(self, path: str, tmp: str) -> str:
        """Another name of what is there, so that it stays; "" where it cannot have one."""
        name = os.path.join(tmp, tmp_name(self._host, UNIQUE))
        try:
            os.link(path, name)
        except OSError:
            return ""                  # not every file system can
        return name

    def forget(self) -> None:
        """Nothing is kept, and nothing is left in tmp/."""
        if self._pid == os.getpid():
            if self._spare is not None:
                self._spare.end()
            if self._fd >= 0:
                close(self._fd)
        self._mine = self._spare = None
        self._fd, self._path, self._pid = -1, "", os.getpid()
