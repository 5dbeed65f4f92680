"""The door to a file that somebody else may have put there: it is read only if it is one.

A pipe of its name would be waited for, a device read without end, a terminal would become ours.
"""
from __future__ import annotations

import errno
import os
import stat
import time

NO_FILE = "not a regular file"
LEASED_SECONDS = 5.0               # for which who writes to a file may keep others from opening it: it is
PAUSE = 0.0005                     # a moment, where that process is not stopped in it


def open_regular(path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of the regular file at ``path``, closed on exec.  Raises OSError: EISDIR for a directory,
    ENXIO for what is no file either, and what open(2) says; waits only for who is just writing to it."""
    return opened(path, flags, mode)[0]


def opened(path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0o600) -> tuple[int, os.stat_result]:
    """The same, and what fstat(2) says of it."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        try:
            fd = os.open(path, flags, mode)
        except BlockingIOError:        # something is put behind what is in it
            fd = _when_free(path, flags, mode)
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


def _when_free(path: str | bytes, flags: int, mode: int) -> int:
    end = time.monotonic() + LEASED_SECONDS
    while True:
        time.sleep(PAUSE)
        try:
            return os.open(path, flags, mode)
        except BlockingIOError:
            if time.monotonic() > end:
                raise


def is_there(path: str | bytes) -> bool:
    """Is there something of this name, a link too that leads nowhere or where the user may not look?  As
    lexists(), which takes more than twice as long where there is nothing."""
    return os.access(path, os.F_OK, follow_symlinks=False)


def whole(path: str | bytes, most: int = -1) -> bytes:
    """What the regular file at ``path`` holds, or its first ``most`` octets.  Raises OSError as
    open_regular() does."""
    with open(open_regular(path), "rb", buffering=0) as file:
        return file.read(most) or b""
