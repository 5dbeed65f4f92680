"""The file of a session that has left a mailbox, kept for the next session of its process.

Who opens a mailbox has a file in tmp/ (expunged.py).  To make one and to remove it was a third of what a
brief session cost: on ext4 the number of a removed inode is not used again for a while, and who makes a file
passes over all of these.  So a process that serves one session after another gives the file a name
that says nothing instead, and the next session gives it its own, by a rename each.  The process takes it
away when it ends; what a killed one leaves is garbage of tmp/ as any other.
"""
from __future__ import annotations

import os

from courierpy.maildir.files import remove
from courierpy.maildir.names import tmp_name

_is_wanted = False
_spare: tuple[str, int, int, int] | None = None    # path, device, inode; the process


def begin() -> None:
    """This process serves one session after another."""
    global _is_wanted
    _is_wanted = True


def keep(own: str, host: str) -> bool:
    """Take the file ``own`` of a reader that leaves.  False: it is for the caller to remove.  ``host``: for
    the name."""
    global _spare
    if not _is_wanted or _spare is not None:
        return False
    path = f"{os.path.dirname(own)}/{tmp_name(host, 'kept')}"
    try:
        found = os.stat(own, follow_symlinks=False)
        if found.st_nlink != 1:
            return False               # a lock leads to it still
        os.rename(own, path)
        # who takes it may have another working directory
        _spare = os.path.join(os.getcwd(), path), found.st_dev, found.st_ino, os.getpid()
    except OSError:
        remove(path)
        return False
    return True


def take(own: str) -> bool:
    """The kept file is that of the reader ``own`` now.  False: there is none that can be."""
    global _spare
    if _spare is None:
        return False
    path, *identity, pid = _spare
    try:
        found = os.stat(path, follow_symlinks=False)
        if pid == os.getpid() and found.st_nlink == 1 and [found.st_dev, found.st_ino] == identity:
            os.rename(path, own)
            _spare = None
            return True
    except OSError:                    # cleaned away as garbage, or of another file system
        pass
    end()
    return False


def end() -> None:
    """Nothing is kept any more."""
    global _spare
    if _spare is not None and _spare[3] == os.getpid():
        remove(_spare[0])
    _spare = None
