"""All mailboxes of a Maildir as they are at one moment, for who copies them.

The locks of all are held, so that nothing gets a number, no keyword, list of rights or subscription changes,
and no mailbox is made or goes.  Flags are names of files, and change without the lock; so does what is
expunged.  For these there is a mark in tmp/ while the lock is held: our sessions wait then as for the lock
(MailboxDirectory.wait_while_still()).  Courier knows no such mark: what it does to flags goes on, and so do
deliveries to new/, which no lock has ever stopped.

No lock is waited for while others are held: who has one and waits for another would wait for us.  A mark that
a process left that did not live to remove it makes sessions take the lock, and the first of them removes it.
"""
from __future__ import annotations

import os
import time
from contextlib import suppress

from courierpy.maildir import directory
from courierpy.maildir.errors import Busy, Denied, DiskTrouble, FolderMissing, StoreError, trouble
from courierpy.maildir.files import remove
from courierpy.maildir.mailboxdirectory import MailboxDirectory
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from courierpy.maildir.store import Store

PAUSE = 0.05                       # seconds between two looks at cur/
SHORT = 0.2                        # seconds for a lock, while others are held
QUIET = 50_000_000                 # nanoseconds without a change of cur/: who began before the mark is done
STIRRED = 5.0                      # seconds that this is waited for
RENEWED = 20.0                     # seconds after which what is held is made young again


class Moment:
    """``with Moment(store, names, seconds):``.  ``names``: function that gives the mailboxes.  ``seconds``:
    that it is tried to have all locks.  ``places``: the mailboxes that are held, by name.  ``partly``: one
    that cannot be held, as a link to where its user may not go, keeps nobody from the others, and is in
    ``refused`` with the reason; INBOX is never among these.

    Entering raises Busy when others hold one for too long, or another store error."""

    __slots__ = ("_deadline", "_held", "_names", "_partly", "_renewed", "_seconds", "_store", "places",
                 "refused")

    def __init__(self, store: Store, names: Callable[[], list[str]], seconds: float,
                 partly: bool = False) -> None:
        self._store = store
        self._partly = partly
        self.refused: dict[str, StoreError] = {}
        self._names = names
        self._seconds = seconds
        self._deadline = self._renewed = 0.0
        self._held: list[MailboxDirectory] = []
        self.places: dict[str, MailboxDirectory] = {}

    def __enter__(self) -> Moment:
        self._renewed = time.monotonic()
        self._deadline = self._renewed + self._seconds
        _allow_files()
        first = ""
        try:
            while True:
                names = self._names()
                missed = self._take(names, first)
                if missed is None and self._names() == names:
                    break
                self._let_go()         # one is busy; or a mailbox was made, or went, before INBOX was held
                first = missed or first
            self._be_still()
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:
        self._let_go()

    def renew(self) -> None:
        """To be called in each minute at least, and as often as one likes: who works on another host takes a
        lock for left behind that is old."""
        now = time.monotonic()
        if now - self._renewed < RENEWED:
            return
        self._renewed = now
        for place in self._held:
            with suppress(OSError):            # it went with its mailbox
                os.utime(place.lock.lock)

    def _take(self, names: list[str], first: str) -> str | None:
        """Take all locks; the name of the mailbox whose lock others hold, None where all are ours.
        ``first``: the one that is waited for."""
        seen = set()
        self.places = {}
        self.refused = {}
        for name in sorted(names, key=lambda name: name != first):
            self.renew()
            place = MailboxDirectory(self._store.path_of(name), self._store.options)
            try:
                self._store.places.repair(place.path)
                found = os.stat(place.tmp)
                one = found.st_dev, found.st_ino
                if one not in seen and not self._have(place):
                    return name
            except (Denied, DiskTrouble, FolderMissing, OSError) as error:
                if isinstance(error, (FolderMissing, FileNotFoundError)) and name not in self._names():
                    return ""          # it went just now
                why = error if isinstance(error, StoreError) else trouble(place.tmp, error)
                if not self._partly or name == self._store.namespaces.personal.inbox:
                    raise why from None
                self.refused[name] = why
                continue
            if one not in seen:        # two names may lead to one directory
                self._held.append(place)
            seen.add(one)
            self.places[name] = place
        return None

    def _have(self, place: MailboxDirectory) -> bool:
        """Take its lock; False where that takes longer than others may wait for those that are held."""
        left = max(0.0, self._deadline - time.monotonic())
        try:
            if place.lock.take(patience=min(left, SHORT) if self._held else left):
                return True
        except Busy:
            if time.monotonic() < self._deadline:
                return False
        raise Busy(f"{place.lock.lock}: others hold it for longer than {self._seconds:.0f} seconds")

    def _be_still(self) -> None:
        """Put the marks, and wait for those who looked for them before."""
        for place in self._held:
            try:
                os.close(open_regular(place.still, os.O_WRONLY | os.O_CREAT))
            except OSError as error:
                raise trouble(place.still, error) from None
        end = time.monotonic() + STIRRED
        for place in self._held:
            while time.monotonic() < end:
                if not 0 <= time.time_ns() - directory.mtime(place.cur) <= QUIET:
                    break
                time.sleep(PAUSE)

    def _let_go(self) -> None:
        # the first one holds back the signals: it goes last
        for place in reversed(self._held):
            remove(place.still)
            place.lock.release()
        self._held.clear()


def _allow_files() -> None:
    """A lock takes a descriptor, and so many mailboxes need as many."""
    import resource  # for few
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):
        return
