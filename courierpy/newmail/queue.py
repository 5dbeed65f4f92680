"""The queue of notifyd on disk: a file for each thing that is to be done, until it is done.

A file is written beside its name, synced, and named by a rename, so a file that has its name is whole.  Who
does what it says holds a lock on it (flock) and removes it then: the process that does it outlives notifyd,
and one that is started anew finds the lock, or no file.  So nothing is done a second time, but where a
process is killed between the other side's yes and the removal.

Legal states: ``NAME`` without a lock, to be done; ``NAME`` with one, being done; ``.NAME``, not whole, and
removed at the start.
"""
from __future__ import annotations

import fcntl
import json
import os
import re
import time

from courierpy.newmail.event import Event
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

FIRST_PAUSE = 15.0             # seconds until it is tried a second time; each pause is twice the one before
LONGEST_PAUSE = 3600.0
MAX_OCTETS = 128 * 1024        # of a file
_NAME = re.compile(r"[0-9]{20}\.[0-9a-z]{1,80}")


class Entry:
    """One way to tell of one event.  ``method``: a word of the table of ways.  ``token``: of a device, "" for
    other ways.  ``since``, ``due``: seconds since 1970; ``tries``: how often it was tried in vain."""

    __slots__ = ("due", "event", "method", "name", "since", "token", "tries")

    def __init__(self, name: str, method: str, event: Event, *, token: str = "", since: float = 0.0,
                 due: float = 0.0, tries: int = 0) -> None:
        self.name = name
        self.method = method
        self.event = event
        self.token = token
        self.since = since
        self.due = due
        self.tries = tries

    def encode(self) -> bytes:
        return json.dumps({"method": self.method, "token": self.token, "since": self.since, "due": self.due,
                           "tries": self.tries, "event": self.event.encode().decode()}).encode()

    @classmethod
    def of(cls, name: str, data: bytes) -> Entry:
        """Raises ValueError for what is none."""
        try:
            found = json.loads(data)
            return cls(name, str(found["method"]), Event.of(str(found["event"]).encode()),
                       token=str(found["token"]), since=float(found["since"]), due=float(found["due"]),
                       tries=int(found["tries"]))
        except (KeyError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"no entry: {error}") from None

    def postpone(self, now: float) -> None:
        """It was tried in vain: the next time is later than that after the try before."""
        self.due = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.tries, 20))
        self.tries += 1

    def is_stale(self, hours: float) -> bool:
        """Has it waited for longer than that?  Nobody wants to hear of it any more."""
        return time.time() - self.since > hours * 3600


class Queue:
    """The folder of entries.  Every method but ``begin`` is for notifyd alone."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._last = 0

    def load(self) -> list[Entry]:
        """What is left of before.  What is no entry is told of and left alone.  OSError."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            if name.startswith(".") and _NAME.fullmatch(name[1:]):
                os.unlink(os.path.join(self.folder, name))
            elif _NAME.fullmatch(name):
                try:
                    with open(os.path.join(self.folder, name), "rb") as file:
                        found.append(Entry.of(name, file.read(MAX_OCTETS)))
                except (OSError, ValueError) as error:
                    log.err(f"{self.folder}/{name}: it is left alone: {error}")
        return found

    def add(self, method: str, event: Event, token: str = "") -> Entry:
        """Keep it.  OSError."""
        now = time.time()
        self._last = max(self._last + 1, time.time_ns())
        name = f"{self._last:020d}.{event.ident.lower()}"
        entry = Entry(name, method, event, token=token, since=now, due=now)
        self.put(entry)
        return entry

    def put(self, entry: Entry) -> None:
        """Write it, or write it anew.  OSError: all is as it was."""
        beside = os.path.join(self.folder, "." + entry.name)
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(entry.encode())
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(beside, os.path.join(self.folder, entry.name))
        except OSError:
            _unlink(beside)
            raise
        self._sync()

    def remove(self, entry: Entry) -> None:
        _unlink(os.path.join(self.folder, entry.name))
        try:
            self._sync()
        except OSError as error:
            log.err(f"{self.folder}: {error.strerror}")

    def _sync(self) -> None:
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def begin(self, name: str) -> Begun | None:
        """For the process that does it; None: another one does it, or it is done.  OSError, ValueError."""
        try:
            fd = os.open(os.path.join(self.folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:              # else it was done between the two
                return Begun(fd, Entry.of(name, os.pread(fd, MAX_OCTETS, 0)))
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None


class Begun:
    """``entry``, and the lock on it."""

    def __init__(self, fd: int, entry: Entry) -> None:
        self._fd = fd
        self.entry = entry

    def __enter__(self) -> Entry:
        return self.entry

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._fd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.err(f"{path}: {error.strerror}")
