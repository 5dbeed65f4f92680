"""The file that a session links to the name of a lock, where it wants the lock of a mailbox again and again.

Who has a mailbox open has a file in tmp/ that says who it is, and its lock is a link to that.  To make a file
for each lock instead, and to remove it, was most of what an APPEND cost: on ext4 the number of a removed
inode is not used again for five seconds, and who makes a file has to pass over all of these.  So a session
that wants the lock of one mailbox several times in a row keeps the file, until it turns to another mailbox or
ends.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.files import remove
from courierpy.maildir.lockholder import signed
from courierpy.maildir.names import tmp_name

SOON = 2.0                         # seconds between two locks in a row


class KeptFile:
    """One session's file, which its locks are links to.

    ``host``: as it stands in names of files.  A process that is forked of ours begins without one."""

    __slots__ = ("_host", "_path", "_pid", "_since", "_tmp")

    def __init__(self, host: str) -> None:
        self._host = host
        self._tmp = self._path = ""
        self._pid = 0
        self._since = 0.0

    def at(self, tmp: str) -> str:
        """The lock of the mailbox with this tmp/ is wanted: the path of the file, "" where none is kept, or
        where a lock is a link to it now: who finds it a link takes the lock for his own."""
        if self._pid != os.getpid():
            self._pid, self._tmp, self._path = os.getpid(), "", ""
        now = time.monotonic()
        soon = tmp == self._tmp and now - self._since < SOON
        if tmp != self._tmp:
            self.remove()
            self._tmp = tmp
        self._since = now
        try:
            if self._path and os.stat(self._path).st_nlink != 1:
                return ""
        except OSError:
            self._path = ""            # cleaned away as garbage
        if soon and not self._path:
            path = os.path.join(tmp, tmp_name(self._host, "courierlock"))
            self._path = path if signed(path) else ""          # who takes the lock says why
        return self._path

    def remove(self) -> None:
        """It is not needed any more."""
        if self._path and self._pid == os.getpid():
            remove(self._path)
        self._path = self._tmp = ""
