"""Hears of changes in a folder as they happen: inotify, through pyinotify.

Events are a complete record, in order: who plays them back knows what cur/ holds
without reading it.  Where the kernel cannot tell (a limit is reached, no inotify,
another host's change, events were dropped), the caller looks for itself.
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
MODIFIED, CLOSE_WRITE = 0x2, 0x8
MOVED_FROM, MOVED_TO, CREATED, DELETED = 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF = 0x400, 0x800
OVERFLOW, IGNORED = 0x4000, 0x8000
INSIDE = CREATED | DELETED | MOVED_FROM | MOVED_TO


class Refused(Exception):
    """There is no watch; str() says why."""


class Heard:
    """What happened since it was last asked.

    ``everything``: anything may have happened.  ``cur``: base name -> (file name, is
    it there, was it moved), the last word on each.  ``left``: file names that went.
    ``new``, ``keywords``: something came there.
    """

    __slots__ = ("cur", "everything", "keywords", "left", "new")

    def __init__(self) -> None:
        self.everything = self.new = self.keywords = False
        self.cur: dict[bytes, tuple[bytes, bool, bool]] = {}
        self.left: set[bytes] = set()

    def __bool__(self) -> bool:
        return self.everything or self.new or self.keywords or bool(self.cur)

    def in_cur(self, mask: int, name: bytes) -> None:
        if name.startswith(b".") or b"\n" in name:
            return
        base = name.rpartition(b":")[0] or name
        if mask & (CREATED | MOVED_TO):
            self.cur[base] = name, True, False
            self.left.discard(name)
        else:
            self.left.add(name)
            last = self.cur.get(base)
            if last is None or last[0] == name:
                self.cur[base] = name, False, bool(mask & MOVED_FROM)


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
        self._keywords_path = os.path.join(path, DIRECTORY)
        try:
            self._manager: Any = _manager(pyinotify)
        except OSError:
            raise Refused(self._why("inotify_init")) from None
        self.fd: int = self._manager.get_fd()
        os.set_blocking(self.fd, False)
        self._keywords = -1
        try:
            self._root = self._add(path, CREATED | DELETE_SELF | MOVE_SELF)
            self._new = self._add(os.path.join(path, "new"), CREATED | MOVED_TO)
            self._cur = self._add(os.path.join(path, "cur"), INSIDE)
            if os.path.isdir(self._keywords_path):
                self._keywords = self._add(self._keywords_path, INSIDE | CLOSE_WRITE)
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

    def hear(self, heard: Heard) -> None:
        """Add what happened to ``heard``.

        The events are read here: pyinotify keeps account of each rename for a minute.
        """
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = data[at:at + length].rstrip(b"\0")
                at += length
                if number == self._cur and name:
                    heard.in_cur(mask, name)
                elif number == self._new and name:
                    heard.new = True
                elif number == self._keywords and name:
                    heard.keywords = True
                elif number == self._root and name:
                    if name == DIRECTORY.encode():
                        heard.keywords = True
                        self._hear_keywords()
                elif mask & (OVERFLOW | DELETE_SELF | MOVE_SELF) or number != self._keywords:
                    heard.everything = True        # events were dropped, or a directory is gone

    def _hear_keywords(self) -> None:
        try:
            self._keywords = self._add(self._keywords_path, INSIDE | CLOSE_WRITE)
        except Refused:
            return                     # it is gone again

    def close(self) -> None:
        self._manager.close()
