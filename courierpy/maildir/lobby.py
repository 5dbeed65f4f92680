"""Messages that wait in tmp/ until somebody has the folder's lock.

A message that comes alone, or one of a few, while others have the lock is laid into tmp/ under the name
that it will have in cur/, with its flags, when all its octets are on the disk.  Whoever has the lock next
numbers all that wait, writes the numbers once, and lets them in; the others find that nothing is left to do.
With many who bring mail the disk writes one file of numbers for all of them.

Who waits may take its message out again, as long as it is there: it is in tmp/ or in cur/,
by one rename.  What was left by a process that is dead was acknowledged to nobody, and goes
as garbage.
"""
from __future__ import annotations

import os

from courierpy.maildir.lockholder import alive
from courierpy.maildir.names import in_order
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

# names.unique_name(), and flags
_WAITING = later(rb"(?s)\d{1,18}\.M\d{1,18}P(\d{1,18})V[0-9A-F]{16}I[0-9A-F]{16}_\d{1,18}\."
                      rb"([^:,]+)(?:,S=\d{1,18})?:2,[DFRST]*")


class Lobby:
    """The messages that wait in the tmp/ of one mailbox.

    ``inside``: what stands before a file name in it."""

    __slots__ = ("_host", "inside")

    def __init__(self, path: str, host: str) -> None:
        self.inside = os.fsencode(f"{path}/tmp/")
        self._host = os.fsencode(host)

    def waiting(self, own: Iterable[bytes] = ()) -> list[bytes]:
        """File names of messages whose owners live, in the order in which they are numbered; ``own``
        are some of them."""
        try:
            files = [match for match in map(_WAITING.fullmatch, os.listdir(self.inside)) if match is not None]
        except OSError:
            files = []
        found = {file[0] for file in files if self._lives(file)}
        return in_order(found.union(own))

    def _lives(self, file: re.Match[bytes]) -> bool:
        pid = decimal(file[1], PID_MOST)
        return file[2] == self._host and pid is not None and pid > 0 and (pid == os.getpid() or alive(pid))

    def let_in(self, file: bytes, cur: bytes) -> bool:
        """Under the lock.  False when its owner has taken it back.  Raises OSError."""
        try:
            os.rename(self.inside + file, cur + file)
        except FileNotFoundError:
            return False
        return True
