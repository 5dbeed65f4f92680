"""Hears of changes in a folder as they happen: inotify, through pyinotify.

Says only that something changed; what, a scan finds out.  Where the kernel
cannot tell (a limit is reached, no inotify, another host's change), the caller
looks by the clock.
"""
from __future__ import annotations

import errno
import os
import struct

from courierpy.maildir.keywords import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EVENT = struct.Struct("iIII")         # inotify(7): watch, mask, cookie, length of the name
LIMITS = {errno.EMFILE: "the limit fs.inotify.max_user_instances is reached",
          errno.ENFILE: "the limit of open files is reached",
          errno.ENOSPC: "the limit fs.inotify.max_user_watches is reached"}


class Refused(Exception):
    """There is no watch; str() says why."""


def _manager(pyinotify: Any) -> Any:
    import ctypes.util
    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None   # it would start a program to find the C library
    try:
        return pyinotify.WatchManager()
    finally:
        ctypes.util.find_library = find


class Watch:
    """``path``: the folder.  ``fd`` is readable when there is something to hear."""

    def __init__(self, path: str) -> None:
        try:
            import pyinotify
        except ImportError:
            raise Refused("pyinotify is not installed") from None
        pyinotify.log.disabled = True              # it would write to descriptor 2
        self._keywords = os.path.join(path, DIRECTORY)
        self._inside = (pyinotify.IN_CREATE | pyinotify.IN_DELETE | pyinotify.IN_MOVED_FROM
                        | pyinotify.IN_MOVED_TO | pyinotify.IN_CLOSE_WRITE)
        try:
            self._manager: Any = _manager(pyinotify)
        except OSError:
            raise Refused(self._why("inotify_init")) from None
        self.fd: int = self._manager.get_fd()
        os.set_blocking(self.fd, False)
        self._overflow: int = pyinotify.IN_Q_OVERFLOW
        try:
            self._root = self._add(path, pyinotify.IN_CREATE | pyinotify.IN_DELETE_SELF
                                   | pyinotify.IN_MOVE_SELF)
            for part in ("new", "cur"):
                self._add(os.path.join(path, part), self._inside)
            if os.path.isdir(self._keywords):
                self._add(self._keywords, self._inside)
        except Refused:
            self.close()
            raise

    def _add(self, path: str, mask: int) -> int:
        """The number of the watch."""
        try:
            done: int = self._manager.add_watch(path, mask).get(path, -1)
        except UnicodeEncodeError:
            raise Refused("the folder's name is not UTF-8") from None
        if done < 0:
            raise Refused(self._why(path))
        return done

    @staticmethod
    def _why(what: str) -> str:
        import ctypes
        number = ctypes.get_errno()
        return LIMITS.get(number) or f"{what}: {os.strerror(number)}"

    def changed(self) -> bool:
        """Was there anything since the last time?

        The events are read here: all that counts is that there was one, and
        pyinotify keeps account of each rename for a minute.
        """
        heard = False
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return heard
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size:at + _EVENT.size + length].rstrip(b"\0")
                at += _EVENT.size + length
                if number != self._root or mask & self._overflow or not name:
                    heard = True       # inside; events were dropped; the folder itself is gone
                elif name == DIRECTORY.encode():
                    heard = True
                    self._hear_keywords()

    def _hear_keywords(self) -> None:
        try:
            self._add(self._keywords, self._inside)
        except Refused:
            return                     # it is gone again

    def close(self) -> None:
        self._manager.close()
