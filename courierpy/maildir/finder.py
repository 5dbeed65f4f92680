"""Where the messages of an open mailbox are now.

Other sessions rename files when they set flags, and remove them: so there are several
places to look at.
"""
from __future__ import annotations

import os
import stat
import time
from itertools import repeat
from operator import lt

from courierpy.maildir import directory
from courierpy.maildir.errors import Vanished, trouble, unreadable
from courierpy.maildir.files import exists
from courierpy.maildir.messagefile import TRIES, WRITING, MessageFile
from courierpy.maildir.names import SUFFIXES, base, bits_of, info
from courierpy.model.uidset import places
from courierpy.system.regular import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.numbers import Numbers


class Finder:
    """Finds the files of messages, by UID.  A row is one of what is held."""

    __slots__ = ("_changes", "_contents", "_numbers", "_place")

    def __init__(self, place: MailboxDirectory, contents: Contents, numbers: Numbers,
                 changes: Changes) -> None:
        self._place = place
        self._contents = contents
        self._numbers = numbers
        self._changes = changes

    @property
    def twins(self) -> frozenset[bytes]:
        """Base names of several files each."""
        return self._contents.held.twins

    def row(self, uid: int) -> int:
        """Raises Vanished; another store error where the names have to be read."""
        row = self._contents.held.row(uid)
        if row < 0:
            raise self._vanished(uid)
        self._numbers.named()
        return row

    def rows(self, uids: Sequence[int]) -> Sequence[int]:
        """Of those of the messages that are held, ascending.  Raises a store error where the names cannot be
        read."""
        rows = places(self._contents.held.database.uids, uids)
        if uids:
            self._numbers.named()
        return rows if isinstance(rows, range) or -1 not in rows else [row for row in rows if row >= 0]

    def _vanished(self, uid: int) -> Vanished:
        return Vanished(f"{self._place.path}: uid {uid}")

    def name_of(self, uid: int) -> bytes:
        """The base name of a message's file, which no change of flags changes.  Raises Vanished."""
        file = self._contents.departed.get(uid)
        if file is not None:
            return base(file)
        row = self.row(uid)
        return self._contents.held.database.name(row)

    def find_again(self, row: int) -> bool:
        """The name changed: flags of another program.  Look for the base name.  Raises a store error."""
        held, cur = self._contents.held, self._place.inside
        name = held.database.name(row)
        self._changes.did_not(name)
        last = self._changes.last_word(name)
        if last is not None and name not in held.twins:
            file, there = last
            if there and exists(cur + file):
                held.set_file(row, file)
                return True
            if not there and held.file(row) in self._changes.heard.left:
                return False
        for suffix in SUFFIXES:              # cheaper than to read a large directory
            if exists(cur + name + suffix):
                held.set_file(row, name + suffix)
                return True
        found = directory.by_base(self._place.files()).get(name)
        if found is None:
            return False
        held.set_file(row, found)
        return True

    def locate(self, uid: int) -> tuple[bytes, int]:
        """(path, flag bits) as they are now.  Raises Vanished."""
        path, bits = self._last_known(uid)
        if exists(path):
            return path, bits
        if not self.find_again(self.row(uid)):
            raise self._vanished(uid)
        return self._last_known(uid)

    def _last_known(self, uid: int) -> tuple[bytes, int]:
        """(path, flag bits), which others may have changed since.  Raises Vanished."""
        row, held = self.row(uid), self._contents.held
        return self._place.inside + held.file(row), held.flags[row]

    def _kept(self, uid: int) -> tuple[bytes, int] | None:
        """As locate(), for a message that is expunged and that our client still knows."""
        file = self._contents.departed.get(uid)
        if file is None:
            held = self._contents.held
            row = held.row(uid)
            if row < 0:
                return None
            file = held.file(row)
        path = self._place.readers.find(base(file))
        return (path, bits_of(info(file))) if exists(path) else None

    def _places(self, uid: int, kept: bool = True) -> Iterator[tuple[bytes, int]]:
        """(path, flag bits) of a message: where it was last, then where it is found when one
        looks again, then (``kept``) where an expunged one is readable for those who were not told.
        Who finds nothing there asks for the next; it ends when the message is gone."""
        try:
            yield self._last_known(uid)
            for _ in range(TRIES):
                yield self.locate(uid)
        except Vanished:
            pass
        last = self._kept(uid) if kept else None
        if last is not None:
            yield last

    def paths(self, uids: Sequence[int]) -> dict[int, bytes]:
        """Where those of these messages that are held were last, for open().  ``uids``: ascending.  Raises a
        store error where the names cannot be read."""
        held, inside = self._contents.held, self._place.inside
        rows = self.rows(uids)
        return dict(zip(map(held.database.uids.__getitem__, rows),
                        map(inside.__add__, held.files(rows)), strict=True)) if rows else {}

    def open(self, uid: int, path: bytes = b"") -> MessageFile:
        """The file of a message, open until the caller closes it.  One that is expunged can be had until
        our client was told, if the session that did it saw us.  ``path``: where it was last, if the caller
        knows.  Raises Vanished; MessageDenied when it is there and cannot be read."""
        try:
            if not path:
                path, _ = self._last_known(uid)
            fd, found = opened(path)
        except (FileNotFoundError, Vanished):
            fd, found = self._opened_again(uid)
        except OSError as error:
            raise unreadable(path, error) from None
        return MessageFile(fd, self._place.path, found, uid)

    def _opened_again(self, uid: int) -> tuple[int, os.stat_result]:
        """Its file, which is not where it was last.  Raises Vanished, MessageDenied."""
        for path, _ in self._places(uid):
            try:
                return opened(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(path, error) from None
        raise self._vanished(uid)

    def look(self, uid: int, kept: bool = True) -> tuple[bytes, int, os.stat_result]:
        """(path, flag bits, what stat() says) of a message; of a link that cannot be followed what
        it is itself.  ``kept``: an expunged one too, until our client was told.  Raises Vanished."""
        for path, bits in self._places(uid, kept):
            for follow in (True, False):
                try:
                    return path, bits, os.stat(path, follow_symlinks=follow)
                except FileNotFoundError:
                    break
                except OSError as error:
                    if not follow:
                        raise trouble(path, error) from None
        raise self._vanished(uid)

    def look_all(self, uids: Sequence[int], kept: bool = True,
                 ) -> list[tuple[int, bytes, int, os.stat_result, bool]]:
        """(UID, what look() gives, is it known to be a file and no link) of each of the messages that did
        not vanish."""
        held = self._contents.held
        rows = self.rows(uids)
        whole = len(rows) == len(uids) and all(map(lt, rows, rows[1:]))
        files = held.files(rows) if whole else repeat(b"", len(uids))
        bits = bytes(map(held.flags.__getitem__, rows)) if whole else bytes(len(uids))
        inside, found = self._place.inside, []
        for uid, file, one in zip(uids, files, bits, strict=True):
            path = inside + file
            try:
                seen = os.lstat(path)
                if whole and stat.S_ISREG(seen.st_mode):
                    found.append((uid, path, one, seen, True))
                    continue
            except OSError:
                pass                   # it has another name, or what it is will be said now
            try:
                found.append((uid, *self.look(uid, kept), False))
            except Vanished:
                continue
        return found

    def stat(self, uid: int) -> tuple[int, float]:
        """(octets on disk, mtime).  Raises Vanished."""
        found = self.look(uid)[2]
        return found.st_size, found.st_mtime

    def settled(self, uid: int, file: MessageFile) -> bool:
        """Will the content of a message stay so?  A file that somebody is still writing may
        not: it is young, and its size is not the one in its name."""
        if time.time() - file.mtime > WRITING:
            return True
        held = self._contents.held
        row = held.row(uid)
        return row >= 0 and b",S=%d" % file.size in held.file(row)
