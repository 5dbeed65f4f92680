"""Who holds a folder's lock, by what stands in it, and may that be overruled?

The lock of a process of this host that is dead, or was started after the lock was made, is stale at once.
Of another host's process we know only the time.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.files import remove, write_all
from courierpy.model.numbers import PID_MOST, decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STALE_ELSEWHERE = 120.0            # seconds, for a holder on another host, or a text that names nobody
STALE_EMPTY = 10.0                 # an empty lock of a crashed writer
YOUNGER = 3.0                      # a holder started so much later than its lock is another process


def owner() -> bytes:
    """What a lock says of who holds it."""
    return f"{os.getpid()}:{os.uname().nodename}".encode()


def signed(path: str | bytes) -> bool:
    """Make a file of ours, which says so as a lock does; False where none can be made."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError:
        return False
    try:
        try:
            write_all(fd, owner())
        finally:
            os.close(fd)
    except OSError:
        remove(os.fsdecode(path))
        return False
    return True


def leads_to(path: str, key: tuple[int, int], mtime: float | None = None) -> bool:
    """Is this file there?  With ``mtime``: and as it was, since a session may link one file again."""
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == key and mtime in (None, there.st_mtime)


class Holder:
    """What a lock says of who holds it.  ``pid``: of a process of this host, else 0."""

    def __init__(self, text: bytes, there: os.stat_result) -> None:
        self.key = (there.st_dev, there.st_ino)
        self.mtime = there.st_mtime
        self.text = text.decode("ascii", "replace")
        self.number, _, self.host = self.text.partition(":")
        # 0 and more than 31 bits are no process, but something else for kill()
        number = decimal(self.number, PID_MOST) or 0
        self.pid = number if self.host == os.uname().nodename else 0

    def __str__(self) -> str:
        if not self.text:
            return "an empty file"
        return f"pid {self.number} of host {self.host}" if self.host else repr(self.text)

    def stale(self, now: float, ours: Callable[[Holder], bool]) -> bool:
        """May it be overruled?  ``now``: by the clock that dates it.  ``ours``: says whether we hold it,
        where its text has our pid."""
        age = now - self.mtime
        if not self.pid:
            return age > (STALE_ELSEWHERE if self.text else STALE_EMPTY)
        if self.pid == os.getpid():
            return not ours(self)      # or an earlier process had our pid
        return not alive(self.pid, age)


def is_used(pid: int) -> bool:
    """Has any process of this host this number, be it that it ended and its parent has not looked yet?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def alive(pid: int, age: float = 0.0) -> bool:
    """Does this process of this host live, and did it when a file was made ``age`` seconds ago?"""
    if not is_used(pid):
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        # proc(5): the state is field 3, the start field 22, in ticks since the boot.  Both
        # sides are spans of time, so that neither the boot's date nor a file server's clock
        # comes in
        started = time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")
        return words[0] not in (b"Z", b"X", b"x") and age < started + YOUNGER
    except (OSError, IndexError, ValueError):
        return True                    # it is hidden from us
