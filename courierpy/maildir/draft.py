"""A message on its way in: a file in tmp/ that is not one yet."""
from __future__ import annotations

import errno
import os
import re
import time

from courierpy.maildir.errors import StoreError, trouble
from courierpy.maildir.files import close, remove, write_all
from courierpy.maildir.messagefile import PIECE_OCTETS
from courierpy.maildir.names import tmp_name
from courierpy.model.flags import NO_KEYWORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SHORT = 1 << 16                    # octets of a message that may be waited for while the lock is held


class Draft:
    """A message on its way in: a file in tmp/, written as it comes.

    For the mailbox at ``path``; ``host``: as it stands in names of files.  Line ends become
    LF as Courier stores them; a message that would not come back as it was (a bare LF, or
    CR CR LF) is kept as it is.
    """

    def __init__(self, path: str, host: str) -> None:
        self._where = path, host
        self.flags = 0
        self.keywords: frozenset[bytes] = NO_KEYWORDS
        self.date: float | None = None
        self.path = os.path.join(path, "tmp", tmp_name(host))
        self.size = 0
        self.inode = 0, 0              # and its device before it, when it is finished
        self._unsettled = -1           # the descriptor of what is not on the disk yet
        self._begun = False
        self._held = b""               # all that came, as long as it is one piece
        self._exact = False
        self._failure: StoreError | None = None
        self._tail = b""               # carriage returns at the end of what came
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise trouble(self.path, error) from None

    def write(self, data: bytes) -> None:
        """A failure is raised by finish(): what comes until then is swallowed."""
        if not self._begun and len(data) <= SHORT:
            self._begun, self._held = bool(data), data     # mostly there is no other piece
            return
        self._begun = True
        self._flush()
        self._write(data)

    def _flush(self) -> None:
        """What is held is in the file."""
        if self._held:
            held, self._held = self._held, b""
            self._write(held)

    def _write(self, data: bytes) -> None:
        if not data or self._failure is not None:
            return
        seen = self._tail + data
        if seen.count(b"\n") != seen.count(b"\r\n") or b"\r\r\n" in seen:
            self._exact = True
        self._tail = seen[-2:] if seen.endswith(b"\r\r") else seen[-1:] if seen.endswith(b"\r") else b""
        try:
            write_all(self.fd, data)
        except OSError as error:
            self._failure = trouble(self.path, error)
            self.abort()

    def finish(self, sync: bool, at_once: bool = True) -> None:
        """Everything written, the file closed; what is finished stays so.  ``sync``: and on disk; but a short
        one where not ``at_once``, which is on its way then, and there behind settle()."""
        if self._failure is not None:
            raise self._failure
        if self.fd < 0:
            return
        try:
            if self._held:
                write_all(self.fd, _to_store(self._held))
                self._held = b""
            elif not self._exact:
                self._to_lf()
            found = os.fstat(self.fd)
            self.size, self.inode = found.st_size, (found.st_dev, found.st_ino)
            if self.date is not None:
                os.utime(self.fd, (time.time(), self.date))
            fd, self.fd, self._unsettled = self.fd, -1, self.fd
            if sync and not at_once and self.size <= SHORT:
                # to be waited for with the next file: one commit of the file system's journal is for both
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                return
        except OSError as error:
            self.abort()
            raise trouble(self.path, error) from None
        self.settle(sync)

    def settle(self, sync: bool = True) -> None:
        """What is finished is on disk.  Raises a store error, and each time again."""
        if self._failure is not None:
            raise self._failure
        if self._unsettled < 0:
            return
        try:
            if sync:
                os.fsync(self._unsettled)
            fd, self._unsettled = self._unsettled, -1
            os.close(fd)
        except OSError as error:
            self.abort()
            self._failure = trouble(self.path, error)
            raise self._failure from None

    def _to_lf(self) -> None:
        """CR LF to LF, in place: the text only gets shorter."""
        read_at = write_at = 0
        carry = b""
        while True:
            chunk = os.pread(self.fd, PIECE_OCTETS, read_at)
            read_at += len(chunk)
            data = carry + chunk
            carry = b"\r" if chunk and data.endswith(b"\r") else b""
            if carry:
                data = data[:-1]
            data = data.replace(b"\r\n", b"\n")
            view = memoryview(data)
            while view:
                done = os.pwrite(self.fd, view, write_at)
                write_at += done
                view = view[done:]
            if not chunk:
                break
        os.ftruncate(self.fd, write_at)

    @property
    def open(self) -> bool:
        """May something be written yet?"""
        return self.fd >= 0

    def came(self) -> int:
        """Octets that came, while it is open."""
        self._flush()
        try:
            return os.fstat(self.fd).st_size if self.open else 0
        except OSError as error:
            raise trouble(self.path, error) from None

    def read(self, start: int, count: int) -> bytes:
        """Exactly so many of them."""
        try:
            data = os.pread(self.fd, count, start)
        except OSError as error:
            raise trouble(self.path, error) from None
        if len(data) < count:
            raise trouble(self.path, OSError(errno.EIO, os.strerror(errno.EIO)))
        return data

    def rewrite(self, pieces: Iterable[bytes]) -> None:
        """It becomes these octets, which may be made of what read() gives."""
        other = Draft(*self._where)
        try:
            for piece in pieces:
                other.write(piece)
        except BaseException:
            other.abort()
            raise
        self.abort()
        self.path, self.fd = other.path, other.fd
        self._begun, self._held = other._begun, other._held
        self._exact, self._failure, self._tail = other._exact, other._failure, other._tail

    def header_is_ascii(self) -> bool:
        """Are there no 8-bit octets in the header?"""
        self._flush()
        before = b"\n"                 # of the line that the header would follow
        try:
            with open(self.path, "rb", buffering=0) as file:
                while data := file.read(PIECE_OCTETS):
                    end = re.search(rb"\n\r?\n", before + data)
                    if end is not None:
                        return (before + data)[:end.end()].isascii()
                    if not data.isascii():
                        return False
                    before = data[-2:]
        except OSError as error:
            raise self._failure or trouble(self.path, error) from None
        return True

    def abort(self) -> None:
        for fd in (self.fd, self._unsettled):
            if fd >= 0:
                close(fd)              # it is thrown away in any case
        self.fd = self._unsettled = -1
        remove(self.path)


def _to_store(data: bytes) -> bytes:
    """A whole message as it is stored."""
    text = data.replace(b"\r\n", b"\n")
    exact = text.count(b"\n") != len(data) - len(text) or b"\r\n" in text
    return data if exact else text
