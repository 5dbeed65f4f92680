"""inotify(7) itself, through ctypes: for a watch that is wanted seldom and must not cost an import.

Loading ctypes takes 3 ms, pyinotify with all it brings 45.  Both only when the
first watch is made.
"""
from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from ctypes import CDLL

# the masks of <sys/inotify.h>
IN_ATTRIB, IN_CLOSE_WRITE = 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO = 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR = 0x1000000


class Inotify:
    """One instance.  ``fd`` is readable when there are events.  Raises OSError where the kernel refuses."""

    def __init__(self) -> None:
        self._libc = _library()
        # O_NONBLOCK and O_CLOEXEC are inotify's own flags by another name
        self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _failure("inotify_init1")

    def add(self, path: str, mask: int) -> int:
        """The number of the watch: of the old one when ``path`` is watched already."""
        number: int = self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            raise _failure(path)
        return number

    def remove(self, number: int) -> None:
        """End a watch.  Events of it may still come.  One that ended by itself is no error."""
        self._libc.inotify_rm_watch(self.fd, number)

    def events(self) -> Iterator[tuple[int, int, bytes]]:
        """(watch, mask, name) of what there is to read now; the name is b"" for what is watched itself."""
        import struct
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                number, mask, _, length = struct.unpack_from("iIII", data, at)
                at += 16
                yield number, mask, data[at:at + length].rstrip(b"\0")
                at += length

    def close(self) -> None:
        """Slow: the kernel waits until none of its threads can be using a watch, 8 ms and more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _library() -> CDLL:
    try:
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        _ = library.inotify_init1, library.inotify_add_watch, library.inotify_rm_watch
    except (ImportError, AttributeError):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    return library


def _failure(what: str) -> OSError:
    import ctypes
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
