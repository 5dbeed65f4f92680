"""A message's file, open and read by offset.

Once it is open it does not matter any more what it is called.  What is left is that somebody cuts it
off while it is read, which is a failure of the disk, never a signal: nothing is mapped.  Knows nothing
of what stands in a message, nor where it is found (finder.py).
"""
from __future__ import annotations

import errno
import os

from courierpy.maildir.errors import StoreError, trouble
from courierpy.maildir.files import close

TRIES = 10                         # for a file whose name another session changes at the same time
WRITING = 2.0                      # seconds without a change after which a file is whole
HEADER_OCTETS = 8192               # read at first when only the header is wanted
PIECE_OCTETS = 256 * 1024          # read at once where all of a file is looked at


class MessageFile:
    """A file that is open until close().  ``size``: octets when it was opened; ``mtime``:
    seconds; ``identity``: equal for equal content.  Every failure is a store error."""

    __slots__ = ("_fd", "_found", "_uid", "_where", "size")

    def __init__(self, fd: int, where: str, found: os.stat_result | None = None, uid: int = 0) -> None:
        """Takes ``fd`` over.  ``where``: names the message in the log, or its mailbox where there is a
        ``uid``.  ``found``: what fstat(2) said."""
        self._fd = fd
        self._where = where
        self._uid = uid
        if found is None:
            try:
                found = os.fstat(fd)
            except OSError as error:
                close(fd)
                raise trouble(where, error) from None
        self._found = found
        self.size = found.st_size

    @property
    def mtime(self) -> float:
        return self._found.st_mtime

    @property
    def identity(self) -> tuple[int, int, int, int]:
        found = self._found
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def __enter__(self) -> MessageFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """To be called once."""
        try:
            os.close(self._fd)
        except OSError:
            return                     # nothing was written

    def read(self, start: int, count: int) -> bytes:
        """Exactly ``count`` octets from ``start`` on, which must lie within ``size``."""
        try:
            data = os.pread(self._fd, count, start)
            while len(data) < count:
                more = os.pread(self._fd, count - len(data), start + len(data))
                if not more:
                    raise OSError(errno.EIO, "the file is shorter than it was")
                data += more
            return data
        except OSError as error:
            raise self._trouble(error) from None

    def whole(self) -> bytes:
        """All octets, as they are now; once, and most often in one call."""
        try:
            data = os.read(self._fd, self.size + 1)
            if len(data) == self.size:
                return data            # an octet less than what was asked for: the end
            pieces = [data]
            while data := os.read(self._fd, PIECE_OCTETS):
                pieces.append(data)
            return b"".join(pieces)
        except OSError as error:
            raise self._trouble(error) from None

    def header(self, most: int) -> bytes:
        """At least the octets up to the first empty line, or ``most`` of them; once."""
        try:
            data = os.read(self._fd, min(HEADER_OCTETS, most))
            size = len(data)
            while size and len(data) < most and data.find(b"\n\n") < 0 and data.find(b"\n\r\n") < 0:
                size *= 4              # few copies, however long it is
                more = os.read(self._fd, min(size, most - len(data)))
                if not more:
                    break
                data += more
            return data
        except OSError as error:
            raise self._trouble(error) from None

    def _trouble(self, error: OSError) -> StoreError:
        return trouble(f"{self._where}: uid {self._uid}" if self._uid else self._where, error)
