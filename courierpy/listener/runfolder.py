"""The listener's folder below RUNDIRECTORY: made before its sessions, kept by the next image, removed at the
end.

What is in it says system/presence.py.  Folders of listeners that were killed are removed by who starts next.
"""
from __future__ import annotations

import os
import time

from courierpy.system import log, temporary
from courierpy.system.presence import (
    ASLEEP,
    EVERYBODY,
    OTHERS,
    SETTING,
    TOLD,
    VARIABLE,
    inode_of,
    is_folder,
    listener_of,
    read,
    remove,
    started,
    word,
)
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    class Room(Protocol):
        """As hibernate/link.py and listener/outward.py have them."""

        def dismiss(self, words: Mapping[int, tuple[int, str]]) -> Iterable[int]: ...


SPARING = 10                   # times as long as a sweep took there is none


class RunFolder:
    """The folder in which sessions say that they are on.

    ``path``: of the folder, "" where there is none."""

    def __init__(self) -> None:
        self.path = ""
        self._gone: set[int] = set()   # sessions of which nobody may have said so, by the inode of the socket
        self._due = 0.0

    def open(self, environ: dict[str, str], owner: tuple[int, int]) -> None:
        """The folder of this process, which is made where the image before has not; ``environ`` gets its
        path.

        ``owner``: uid and gid that the listener will have, -1 for those that it has."""
        settings = Settings(environ)
        base = settings.text(SETTING)
        if not base:
            return
        path = os.path.join(base, f"{os.getpid()}.{started(os.getpid())}")
        try:
            temporary.directory(base, 0o755)
            found = os.stat(base)
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                raise OSError(0, "others may write there, or it is somebody else's", base)
            if not found.st_mode & 0o001:
                raise OSError(0, "who logs in cannot pass it: chmod 755", base)
            for name in os.listdir(base):
                old = os.path.join(base, name)
                if is_folder(name) and not listener_of(old):
                    _clear(old)
            temporary.directory(os.path.join(base, OTHERS), EVERYBODY)
            told = os.path.join(path, TOLD)
            if temporary.directory(path, 0o700):     # until all is in it that is nobody else's
                temporary.directory(told, 0o755)
                os.chown(told, *owner)
                os.chown(path, *owner)
                os.chmod(path, EVERYBODY)
        except OSError as error:
            if os.geteuid() == 0 or settings.number("MAXPERUSER") > 0:
                log.warn(f"{error.filename or base}: {error.strerror}: nobody can tell who is on, nor how "
                         "many sessions a user has")
            return
        self.path = environ[VARIABLE] = path

    def dismiss(self, rooms: Iterable[Room]) -> None:
        """Those that have no process of their own and that the administrator ends."""
        if not self.path:
            return
        words = {}
        for name in _names(os.path.join(self.path, TOLD)):
            inode = inode_of(name)
            try:
                if inode >= 0:
                    words[inode] = os.lstat(os.path.join(self.path, name)).st_uid, word(self.path, name)
            except OSError:
                pass                   # it has gone
        for room in rooms:
            self._gone.update(room.dismiss(words))
        self.sweep()

    def forget(self, inode: int) -> None:
        """This session is gone, and nobody may have said so."""
        if self.path:
            self._gone.add(inode)

    def sweep(self) -> None:
        """Remove what is there of those that are gone.  A large folder is listed the less often."""
        began = time.monotonic()
        if not self._gone or began < self._due:
            return
        for name in _names(self.path):
            found = read(self.path, name) if inode_of(name) in self._gone else None
            if found is not None and (found.state == ASLEEP or not found.lives()):     # a number comes again
                remove(os.path.join(self.path, name))
        told = os.path.join(self.path, TOLD)
        for name in _names(told):
            if inode_of(name) in self._gone and not os.path.lexists(os.path.join(self.path, name)):
                remove(os.path.join(told, name))
        self._gone.clear()
        now = time.monotonic()
        self._due = now + SPARING * (now - began)

    def close(self) -> None:
        """The listener ends, and has no session any more."""
        if self.path:
            _clear(self.path)


def _clear(path: str) -> None:
    """Remove a folder of sessions, as far as that is ours to do."""
    for folder in (os.path.join(path, TOLD), path):
        for name in _names(folder):
            remove(os.path.join(folder, name))
        try:
            os.rmdir(folder)
        except OSError:
            continue


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
