"""Files that another one took the place of: they end behind the rename, and behind the folder's lock.

Who renames over a file ends it, and waits while the disk writes what was in it, or is told of the blocks that
are free: most often that is no time, on a busy disk it is many seconds.  Meanwhile the kernel lets nobody
rename from one directory to another, in no mailbox of that file system.  A file that is open lives on: it
ends when it is closed, where that holds up nobody else, with a lock when none is held any more.
"""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST = 16                          # files that are kept

# the locks (FolderLock) that this process holds
held: set[Any] = set()
_open: list[int] = []


def rename_over(new: str | bytes, path: str | bytes) -> None:
    """os.rename(), by which no file ends."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        fd = -1                        # there is none, or the descriptors are used up
    try:
        os.rename(new, path)
    finally:
        if fd >= 0 and held and len(_open) < MOST:
            _open.append(fd)
        elif fd >= 0:
            os.close(fd)


def let_go() -> None:
    """A lock was let go: what was kept ends now, unless another one is held."""
    while _open and not held:
        os.close(_open.pop())
