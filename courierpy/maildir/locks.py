"""The folder lock: ``tmp/courier.lock``, as Courier takes it.

A file that holds ``<pid>:<host>`` is linked to the lock's name; who succeeds
holds it.  A lock whose holder is a dead process of this host is taken away at
once, one of another host when it is two minutes old.  Waiting ends: after
``PATIENCE`` seconds the command is refused rather than hanging.
"""
from __future__ import annotations

import os
import time

from courierpy import log
from courierpy.maildir.errors import Busy, trouble
from courierpy.maildir.names import tmp_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

STALE_ELSEWHERE = 120.0            # seconds, for a holder on another host
STALE_EMPTY = 10.0                 # an empty lock of a crashed writer
PATIENCE = 14.0
FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.01      # seconds between two tries: it is held for milliseconds


class FolderLock:
    """``with FolderLock(path, host):`` — re-entered by the same object for free."""

    def __init__(self, path: str, host: str, enabled: bool = True) -> None:
        self.tmp = os.path.join(path, "tmp")
        self.lock = os.path.join(self.tmp, "courier.lock")
        self.host = host
        self.enabled = enabled
        self._depth = 0

    def __enter__(self) -> FolderLock:
        self.take()
        return self

    def take(self, unless: Callable[[], bool] = lambda: False) -> bool:
        """Take the lock; False, without it, when ``unless()`` became true while it was waited for."""
        if self._depth == 0 and self.enabled and not self._take(unless):
            return False
        self._depth += 1
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0 and self.enabled:
            try:
                os.unlink(self.lock)
            except OSError as error_:
                log.warn(f"{self.lock}: {error_.strerror}")

    def _take(self, unless: Callable[[], bool]) -> bool:
        # 1. a file of our own that says who we are
        mine = os.path.join(self.tmp, tmp_name(self.host, "courierlock"))
        owner = f"{os.getpid()}:{os.uname().nodename}".encode()
        try:
            fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                os.write(fd, owner)
            finally:
                os.close(fd)
        except OSError as error:
            raise trouble(mine, error) from None
        try:
            return self._link(mine, unless)
        finally:
            os.unlink(mine)

    def _link(self, mine: str, unless: Callable[[], bool]) -> bool:
        # 2. link it to the lock's name until that works
        end = time.monotonic() + PATIENCE
        pause = FIRST_PAUSE
        while True:
            try:
                os.link(mine, self.lock)
                return True
            except FileExistsError:
                pass
            except OSError as error:
                raise trouble(self.lock, error) from None
            holder = self._stale()
            if holder is None:
                continue
            if time.monotonic() > end:
                log.warn(f"{self.lock}: held for {PATIENCE:.0f} seconds by {holder}")
                raise Busy(f"{self.lock}: held by {holder}")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            if unless():
                return False

    def _stale(self) -> str | None:
        """None when the lock is gone now, else who holds it."""
        try:
            with open(self.lock, "rb") as file:
                text = file.read(300)
                age = time.time() - os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise trouble(self.lock, error) from None
        pid, _, host = text.decode("ascii", "replace").partition(":")
        if pid.isdigit() and host == os.uname().nodename:
            # our own pid: a lock of an earlier process with this number
            stale = int(pid) == os.getpid() or not _alive(int(pid))
        else:
            stale = age > (STALE_ELSEWHERE if text else STALE_EMPTY)
        if not stale:
            return text.decode("ascii", "replace") or "nobody"
        try:
            os.unlink(self.lock)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise trouble(self.lock, error) from None
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return True
