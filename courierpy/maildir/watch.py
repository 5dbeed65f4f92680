"""Hears of changes in a folder as they happen.

Events are a complete record, in order: who plays them back knows what cur/ holds
without reading it.  Where the kernel cannot tell (a limit is reached, no inotify,
another host's change, events were dropped), the caller looks for itself.
"""
from __future__ import annotations

import errno
import os
import select

from courierpy.maildir.formats.keywordlist import ANY
from courierpy.maildir.formats.uiddb import NAME
from courierpy.maildir.names import base
from courierpy.system.inotify import (
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    Ear,
    NotInstalled,
    octets_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS = {errno.EMFILE: "the limit fs.inotify.max_user_instances is reached",
          errno.ENFILE: "the limit of open files is reached",
          errno.ENOSPC: "the limit fs.inotify.max_user_watches is reached"}
INSIDE = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
LF = 10                            # a number is found in bytes much sooner than bytes are
CAME = IN_CREATE | IN_MOVED_TO


class Refused(Exception):
    """There is no watch; str() says why."""


class Heard:
    """What happened since it was last asked.

    ``everything``: anything may have happened.  ``cur``: base name -> (file name, is
    it there, was it moved), the last word on each.  ``left``: file names that went.
    ``new``: something came there.  ``keywords``: names of files in the keywords' directory that
    came, went or changed, and ANY.  ``numbers``: there is a new uiddb, or more in it, which is no change of
    the folder by itself.
    """

    __slots__ = ("cur", "everything", "keywords", "left", "new", "numbers")

    def __init__(self) -> None:
        self.everything = self.new = self.numbers = False
        self.keywords: set[bytes] = set()
        self.cur: dict[bytes, tuple[bytes, bool, bool]] = {}
        self.left: set[bytes] = set()

    def __bool__(self) -> bool:
        return self.everything or self.new or bool(self.keywords) or bool(self.cur)

    def in_cur(self, mask: int, name: bytes) -> None:
        if name.startswith(b".") or LF in name:
            return
        base = name.rpartition(b":")[0] or name
        if mask & CAME:
            last = self.cur.get(base)
            if last is not None and last[1] and last[0] != name and last[0] not in self.left:
                self.everything = True             # two files of one message
            self.cur[base] = name, True, False
            self.left.discard(name)
        else:
            self.left.add(name)
            last = self.cur.get(base)
            if last is None or last[0] == name:
                self.cur[base] = name, False, bool(mask & IN_MOVED_FROM)


class Watch:
    """What the kernel tells of one mailbox.

    ``path``: the folder; ``keywords``: the directory with its keywords, in it or in its cur/.
    ``fd`` is readable when there is something to hear, unless ``waiting``.  ``beside``: something happened in
    the directories that also() named, and who looks there has not said so since."""

    __slots__ = ("_also", "_cur", "_ear", "_in_cur", "_keywords", "_keywords_name", "_keywords_path", "_new",
                 "_root", "beside", "fd")

    def __init__(self, path: str, keywords: str) -> None:
        self._keywords_path = keywords
        self._keywords_name = os.fsencode(os.path.basename(keywords))
        self._in_cur = os.path.dirname(keywords) == os.path.join(path, "cur")
        try:
            self._ear = Ear()
        except NotInstalled as error:
            raise Refused(error.strerror) from None
        except OSError as error:
            raise Refused(LIMITS.get(error.errno or 0) or f"inotify: {error.strerror}") from None
        self.fd = self._ear.fd
        self._root = self._new = self._cur = self._keywords = -1
        self._also: tuple[int, ...] = ()
        self.beside = False
        try:
            self._root = self._add(path, CAME | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF)
            self._new = self._add(os.path.join(path, "new"), CAME)
            self._cur = self._add(os.path.join(path, "cur"), INSIDE)
            if os.path.isdir(self._keywords_path):
                self._keywords = self._add(self._keywords_path, INSIDE | IN_CLOSE_WRITE)
        except Refused:
            self.close()
            raise

    def _add(self, path: str, mask: int) -> int:
        """The number of the watch."""
        try:
            return self._ear.add(path, mask)
        except OSError as error:
            raise Refused(LIMITS.get(error.errno or 0) or f"{path}: {error.strerror}") from None

    def also(self, directories: Iterable[str]) -> None:
        """Hear of these too.  Raises Refused."""
        if not self._also:
            self.beside = True         # what came before was not heard
            self._also = tuple([self._add(path, INSIDE) for path in directories])

    def hear(self, heard: Heard) -> None:
        """Add what happened to ``heard``."""
        cur, in_cur = self._cur, heard.in_cur
        keywords_in_cur = self._keywords_name if self._in_cur else None
        for number, mask, name in self._ear.events():
            if number == cur and name and name != keywords_in_cur:         # by far the most of them
                in_cur(mask, name)
            elif mask & IN_Q_OVERFLOW:
                heard.everything = self.beside = True
            elif number in self._also:
                self.beside = True
            elif name == self._keywords_name and number == (cur if self._in_cur else self._root):
                if mask & IN_CREATE:
                    heard.keywords.add(ANY)        # it is another one
                    self._hear_keywords()
            elif number == self._new and name:
                heard.new = True
            elif number == self._keywords:
                heard.keywords.add(name or ANY)
            elif number == self._root and name:
                heard.numbers = heard.numbers or name == NAME.encode()
            elif number in (self._root, self._new, self._cur):
                heard.everything = True        # a directory is gone

    def skip(self, names: Iterable[bytes]) -> bool:
        """Hear nothing of what we did in cur/, if that is all that happened since hear(): a file of each of
        these names came or went.  False, and it is heard, if there is more."""
        return self._ear.skip(self._cur, octets_of(names))

    @property
    def hears_keywords(self) -> bool:
        """Is their directory watched?"""
        return self._keywords >= 0

    def stirred(self) -> set[bytes] | None:
        """Base names in cur/ of which there is something to hear, which is left for hear(); None when
        that cannot be said."""
        self._ear.listen()
        names = set()
        for number, mask, name in self._ear.waiting:
            if mask & IN_Q_OVERFLOW or number == self._cur and not name:
                return None
            if number == self._cur:
                names.add(base(name))
        return names

    def _hear_keywords(self) -> None:
        try:
            self._keywords = self._add(self._keywords_path, INSIDE | IN_CLOSE_WRITE)
        except Refused:
            return                     # it is gone again

    @property
    def waiting(self) -> bool:
        """Was something heard already, when somebody else of this process listened?"""
        return self.beside or bool(self._ear.waiting)

    def wait(self, seconds: float) -> None:
        """Until there may be something to hear."""
        if self._ear.waiting:
            return
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(int(seconds * 1000))

    def close(self) -> None:
        """Events that are still on their way are nobody's any more."""
        self._ear.close()
