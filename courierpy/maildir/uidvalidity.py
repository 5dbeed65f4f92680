"""UIDVALIDITY: the highest that was ever given is remembered for the account, so that a name that is
used again never gets one that it had before.  RFC 9051 2.3.1.1."""
from __future__ import annotations

import os
import time

from courierpy.maildir.errors import trouble
from courierpy.maildir.files import close, replace, sync_directory
from courierpy.maildir.formats.uiddb import MAX_UID
from courierpy.model.numbers import decimal
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.maildir.options import StoreOptions

HIGHEST = "courierpy-uidvalidity"
EPOCH = 1_000_000_000              # Courier's UIDVALIDITY counts seconds from here
ALONE_TRIES = 200                  # of 10 ms, for what takes less than one


class Uidvalidities:
    """Of the Maildir at ``root``.  ``scratch``: a directory for files that get a name there."""

    __slots__ = ("_options", "_path", "_root", "_scratch", "_unrecorded")

    def __init__(self, root: str, scratch: str, options: StoreOptions) -> None:
        self._root = root
        self._path = f"{root}/{HIGHEST}"
        self._scratch = scratch
        self._options = options
        # by a mailbox's path: one that no disk has, and what the mailbox held then
        self._unrecorded: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Another session begins: what no disk has is nobody's any more."""
        self._unrecorded.clear()

    def of(self, path: str, known: int, last: int, record: bool, held: Callable[[], int]) -> int:
        """That of the mailbox at ``path``, whose uiddb is lost.  ``known``: what is left says so, or 0;
        ``last``: it had that one.  ``record``: False where nothing can be written; a new one is then kept in
        memory, until it can, and while the mailbox holds the same messages, of which ``held`` gives a
        hash: others would get the numbers that these were told with.  Raises a store error."""
        before, holding = self._unrecorded.get(path, (0, 0))
        if known:
            if record and before == known:
                self.remember(known)
                del self._unrecorded[path]
            return known
        if record:
            return self.next(record, max(last, before))
        holds = held()
        if not before or holds != holding:
            before = self.next(record, max(last, before))
            self._unrecorded[path] = before, holds
        return before

    def next(self, record: bool = True, above: int = 0) -> int:
        """One that no mailbox of this account had before, and greater than ``above``; another one where no
        number is greater.  Raises a store error."""
        from courierpy.maildir.formats import dovecot  # only for a new mailbox
        alone = self._alone()
        try:
            last = self._last()
        except FileNotFoundError:
            last = 0
        except OSError as error:
            close(alone)
            raise trouble(self._path, error) from None
        try:
            last = max(last, dovecot.last_uidvalidity(self._root), above)
            value = int(time.time()) - EPOCH
            if value <= last < MAX_UID:
                value = last + 1
            if record:
                # what the mailbox's own uiddb says is on stable storage before anybody is told, and
                # DELETE writes it down here: this file alone need not be
                self._write(value, self._options.sync_all)
                if self._options.sync_all:
                    sync_directory(self._root)
            return value
        finally:
            close(alone)

    def remember(self, value: int) -> None:
        """One that another program gave counts too.  Raises a store error."""
        alone = self._alone()
        try:
            if self._last() >= value:
                close(alone)
                return
        except OSError:
            pass
        try:
            self._write(value, self._options.sync)
        finally:
            close(alone)

    def _last(self) -> int:
        """What is written down; 0 where that is no UIDVALIDITY.  OSError."""
        return decimal(whole(self._path, 32).strip(), MAX_UID) or 0

    def _write(self, value: int, sync: bool) -> None:
        replace(self._path, b"%d\n" % value, self._scratch, self._options.host, "uidvalidity", sync=sync)

    def _alone(self) -> int:
        """A descriptor: while it is open no other session of this host gives or remembers a
        UIDVALIDITY.  Not the mailbox's lock: INBOX's may be ours already."""
        import fcntl
        try:
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise trouble(self._root, error) from None
        for _ in range(ALONE_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break                  # a file system without such locks
        return fd
