"""What was delivered lately, so that the same message does not come twice.

A file in the index of INBOX, grown at its end: a line for each message, ``<seconds since 1970> <key> <base
name>``. It is written after the message is safe, and only saves a reader a second copy: a line that is lost
costs one, and never a message.  A message that the user has removed or moved since is not there any more,
and may come again.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir import names
from courierpy.maildir.files import close, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index.columns import Index

NAME = "delivered"
MOST_OCTETS = 128 * 1024


class Duplicates:
    """The messages that came to one account lately.

    ``seconds``: how long a message is remembered; 0: none is."""

    __slots__ = ("_index", "_seconds")

    def __init__(self, index: Index, seconds: int) -> None:
        self._index = index
        self._seconds = seconds

    def find(self, key: str, path: str) -> str:
        """The base name of the message in the mailbox at ``path`` that has this key; "" for none."""
        if not self._seconds or not key:
            return ""
        wanted = b" %s " % key.encode()
        data = self._read()
        at = data.rfind(wanted)
        while at >= 0:
            begin = data.rfind(b"\n", 0, at) + 1
            end = data.find(b"\n", at)
            if end >= 0 and self._holds(data[begin:at]):
                name = data[at + len(wanted):end]
                if _is_there(path, name):
                    return os.fsdecode(name)
            at = data.rfind(wanted, 0, at)
        return ""

    def add(self, key: str, name: str) -> None:
        """A message with this key is there.  May fail in silence."""
        if not self._seconds or not key:
            return
        line = b"%d %s %s\n" % (time.time(), key.encode(), os.fsencode(name))
        try:
            fd = self._index.open(NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                write_all(fd, line)
                full = os.fstat(fd).st_size > MOST_OCTETS
            finally:
                close(fd)
        except OSError:
            return
        if full:
            self._shorten()

    def _holds(self, seconds: bytes) -> bool:
        try:
            return int(seconds) > time.time() - self._seconds
        except ValueError:
            return False               # a torn line

    def _read(self) -> bytes:
        try:
            with open(self._index.open(NAME), "rb", buffering=0) as file:
                return file.readall()
        except OSError:
            return b""

    def _kept(self, lines: list[bytes]) -> list[bytes]:
        return [line for line in lines if self._holds(line.partition(b" ")[0])]

    def forget_old(self) -> None:
        """What is too old goes now.  May fail in silence."""
        lines = self._read().splitlines(keepends=True)
        kept = self._kept(lines)
        if len(kept) < len(lines):
            self._index.replace(NAME, kept)

    def _shorten(self) -> None:
        """The older half goes, and what is too old."""
        data = self._read()
        half = data[data.find(b"\n", len(data) - MOST_OCTETS // 2) + 1:]
        self._index.replace(NAME, self._kept(half.splitlines(keepends=True)))


def _is_there(path: str, name: bytes) -> bool:
    for part in ("new", "cur"):
        try:
            entries = os.listdir(os.fsencode(os.path.join(path, part)))
        except OSError:
            continue
        if any(names.base(entry) == name for entry in entries):
            return True
    return False
