"""A message's file, found wherever it is now and read by offset.

Other sessions rename files when they set flags, and remove them: so there are several
places to look at.  Once the file is open none of that matters any more; what is left is
that somebody cuts it off while it is read, which is a failure of the disk, never a
signal: nothing is mapped.  Knows nothing of what stands in a message.
"""
from __future__ import annotations

import errno
import os

from courierpy.maildir.errors import Vanished, trouble, unreadable
from courierpy.maildir.files import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.mailbox import Mailbox

TRIES = 10                         # for a file whose name another session changes at the same time
WRITING = 2.0                      # seconds without a change after which a file is whole
HEADER_OCTETS = 8192               # read at first when only the header is wanted
PIECE_OCTETS = 256 * 1024          # read at once where all of a file is looked at


class MessageFile:
    """A file that is open until close().  ``size``: octets when it was opened; ``mtime``:
    seconds; ``identity``: equal for equal content.  Every failure is a store error."""

    __slots__ = ("_fd", "_where", "identity", "mtime", "size")

    def __init__(self, fd: int, where: str) -> None:
        """Takes ``fd`` over.  ``where``: names the message in the log."""
        self._fd = fd
        self._where = where
        try:
            found = os.fstat(fd)
        except OSError as error:
            close(fd)
            raise trouble(where, error) from None
        self.size = found.st_size
        self.mtime = found.st_mtime
        self.identity = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def __enter__(self) -> MessageFile:
        return self

    def __exit__(self, *error: object) -> None:
        close(self._fd)

    def close(self) -> None:
        close(self._fd)

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
            raise trouble(self._where, error) from None

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
            raise trouble(self._where, error) from None

    def header(self, most: int) -> bytes:
        """At least the octets up to the first empty line, or ``most`` of them; once."""
        try:
            data = os.read(self._fd, min(HEADER_OCTETS, most))
            size = len(data)
            while size and len(data) < most and b"\n\n" not in data and b"\n\r\n" not in data:
                size *= 4              # few copies, however long it is
                more = os.read(self._fd, min(size, most - len(data)))
                if not more:
                    break
                data += more
            return data
        except OSError as error:
            raise trouble(self._where, error) from None


def places(folder: Mailbox, uid: int, kept: bool = True) -> Iterator[tuple[bytes, int]]:
    """(path, flag bits) of a message: where it was last, then where it is found when one
    looks again, then (``kept``) where an expunged one is readable for those who were not told.
    Who finds nothing there asks for the next; it ends when the message is gone."""
    try:
        yield folder.last_known(uid)
        for _ in range(TRIES):
            yield folder.locate(uid)
    except Vanished:
        pass
    last = folder.kept(uid) if kept else None
    if last is not None:
        yield last


def open_message(folder: Mailbox, uid: int) -> MessageFile:
    """The file of a message.  One that is expunged can be had until our client was told, if
    the session that did it saw us.  Raises Vanished; MessageDenied when it is there and
    cannot be read."""
    for path, _ in places(folder, uid):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(path, error) from None
        return MessageFile(fd, f"{folder.path}: uid {uid}")
    raise Vanished(f"{folder.path}: uid {uid}")


def look(folder: Mailbox, uid: int, kept: bool = True) -> tuple[bytes, int, os.stat_result]:
    """(path, flag bits, what stat() says) of a message; of a link that cannot be followed what
    it is itself.  Raises Vanished."""
    for path, bits in places(folder, uid, kept):
        for follow in (True, False):
            try:
                return path, bits, os.stat(path, follow_symlinks=follow)
            except FileNotFoundError:
                break
            except OSError as error:
                if not follow:
                    raise trouble(path, error) from None
    raise Vanished(f"{folder.path}: uid {uid}")
