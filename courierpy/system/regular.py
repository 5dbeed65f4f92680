"""The door to a file that somebody else may have put there: it is read only if it is one.

A pipe of its name would be waited for, a device read without end, a terminal would become ours.
"""
from __future__ import annotations

import errno
import os
import stat

NO_FILE = "not a regular file"


def open_regular(path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of the regular file at ``path``, closed on exec.  Raises OSError: EISDIR for a directory,
    ENXIO for what is no file either, and what open(2) says; never waits."""
    return opened(path, flags, mode)[0]


def opened(path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0o600) -> tuple[int, os.stat_result]:
    """The same, and what fstat(2) says of it."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        try:
            fd = os.open(path, flags, mode)
        except BlockingIOError:        # it is written over, and its name is another one's by now
            fd = os.open(path, flags, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:             # a socket, or a pipe that nobody reads
            error.strerror = NO_FILE
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.ENXIO
            raise OSError(number, os.strerror(number) if number == errno.EISDIR else NO_FILE, path)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def whole(path: str | bytes, most: int = -1) -> bytes:
    """What the regular file at ``path`` holds, or its first ``most`` octets.  Raises OSError as
    open_regular() does."""
    with open(open_regular(path), "rb", buffering=0) as file:
        return file.read(most) or b""
