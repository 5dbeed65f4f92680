"""What is expunged is kept for some days where IMAP_EXPUNGE_KEEP says so, and can be brought back.

In a directory of each mailbox, a file for each message, by one rename: ``<seconds since 1970 when it was
expunged>.<UIDVALIDITY>.<UID>,<name that it had>``.  Its keywords, where it had any, are in a file beside it,
``....keywords``, a line for each, which is written before.  No quota counts what is there, and no program
shows it as mail.  On a full disk nothing is kept, and what is there goes: who expunges wants room.
"""
from __future__ import annotations

import errno
import os
import re
import time
from contextlib import suppress

from courierpy.maildir.errors import trouble
from courierpy.maildir.files import listed, open_as, remove, unlink, write_all
from courierpy.maildir.names import MAX_NAME, bits_of, info
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.numbers import decimal
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_GRAVE = re.compile(rb"([0-9]{1,11})\.([0-9]{1,10})\.([0-9]{1,10}),(.*)", re.S)
KEYWORDS = b".keywords"
MOST_OCTETS = 1 << 20              # of a file of keywords
YOUNG = 3600                       # seconds
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Grave:
    """A message that was expunged.  ``when``, ``arrived``: seconds since 1970; ``uid``: that it had, with
    ``uidvalidity``; ``octets``: of the file; ``bits``: its flags."""

    __slots__ = ("arrived", "bits", "octets", "path", "uid", "uidvalidity", "when")

    def __init__(self, path: bytes, match: re.Match[bytes], found: os.stat_result) -> None:
        self.path = path
        self.when, self.uidvalidity, self.uid = int(match[1]), int(match[2]), int(match[3])
        self.bits = bits_of(info(match[4]))
        self.octets = found.st_size
        self.arrived = found.st_mtime

    @property
    def keywords(self) -> bytes:
        """The path of the file of keywords."""
        directory, name = os.path.split(self.path)
        return os.path.join(directory, name.partition(b",")[0] + KEYWORDS)

    @property
    def words(self) -> frozenset[bytes]:
        """Its keywords, as they are on disk now."""
        try:
            return frozenset(filter(None, whole(os.fsdecode(self.keywords), MOST_OCTETS).split(b"\n")))
        except OSError:
            return NO_KEYWORDS


class Graveyard:
    """Of one mailbox.  ``path``: of the directory, which is made when it is needed."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = os.fsencode(path)

    def take(self, path: bytes, uidvalidity: int, uid: int, words: Iterable[bytes]) -> None:
        """The message's file goes there.  Raises FileNotFoundError where it is gone, OSError."""
        start = b"%d.%d.%d" % (time.time(), uidvalidity, uid)
        file = os.path.basename(path)
        name = start + b"," + file
        if len(name) > MAX_NAME:       # what it was called is not needed; its flags are
            name = start + b",:2," + info(file)
        there = os.path.join(self.path, name)
        lines = b"".join(word + b"\n" for word in sorted(words))
        keywords = lines and os.path.join(self.path, start + KEYWORDS)
        try:
            self._rename(path, there, keywords, lines)
        except FileNotFoundError:
            if os.path.isdir(self.path):
                raise
            with suppress(FileExistsError):            # another session made it
                os.mkdir(self.path, open_as(os.path.dirname(os.fsdecode(self.path))))
            self._rename(path, there, keywords, lines)

    @staticmethod
    def _rename(path: bytes, there: bytes, keywords: bytes, lines: bytes) -> None:
        if keywords:
            remove(os.fsdecode(keywords))      # of one who did not come to the rename
            mode = open_as(os.path.dirname(os.fsdecode(keywords))) & 0o660
            fd = os.open(keywords, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                write_all(fd, lines)
            finally:
                os.close(fd)
        try:
            os.rename(path, there)
        except OSError:
            if keywords:
                remove(os.fsdecode(keywords))
            raise

    def bury(self, path: bytes, uidvalidity: int, uid: int, words: Iterable[bytes]) -> None:
        """As take(); where there is no room the message just goes."""
        try:
            self.take(path, uidvalidity, uid, words)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            os.unlink(path)

    def graves(self) -> list[Grave]:
        """What is kept, in the order in which it was expunged.  Raises a store error."""
        found = []
        for entry in listed(os.fsdecode(self.path)):
            name = os.fsencode(entry.name)
            match = _GRAVE.fullmatch(name)
            if match is None:
                continue
            try:
                seen = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise trouble(entry.path, error) from None
            found.append(Grave(os.path.join(self.path, name), match, seen))
        return sorted(found, key=lambda grave: (grave.when, grave.uidvalidity, grave.uid))

    @staticmethod
    def forget(grave: Grave) -> None:
        """It goes for good.  Raises a store error."""
        unlink(os.fsdecode(grave.path))
        remove(os.fsdecode(grave.keywords))

    def clean(self, limit: float) -> None:
        """Files of keywords from before ``limit`` go whose message came back, or never came."""
        names = [os.fsencode(entry.name) for entry in listed(os.fsdecode(self.path))]
        there = {name.partition(b",")[0] for name in names if _GRAVE.fullmatch(name)}
        limit = min(limit, time.time() - YOUNG)        # who expunges just now writes that file first
        for name in names:
            start = name.removesuffix(KEYWORDS)
            when = decimal(start.partition(b".")[0])
            if start != name and start not in there and when is not None and when < limit:
                remove(os.fsdecode(os.path.join(self.path, name)))

    def give_up(self) -> bool:
        """Room is needed: all of it goes.  True if there was anything."""
        entries = listed(os.fsdecode(self.path))
        for entry in entries:
            remove(entry.path)
        return bool(entries)
