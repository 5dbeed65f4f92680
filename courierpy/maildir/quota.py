"""The quota of a Maildir++: what may be there, what is, and the file that says so (formats/maildirsize.py).

All who change the Maildir keep the file, each for itself and without a lock: who brings a message asks
first whether it may come (``admit``) and adds a line when it is there (``changed``).  So the sum is
near the truth, and not more: of two who ask at the same time both may come in, and a program that knows
nothing of the file adds no line.  Before anybody is refused the messages are counted, unless that was done in
the last minutes and nothing happened since (Courier's rules).

What is \\Deleted does not count, nor does the trash (quotacount.py): so who is over quota can mark messages
as \\Deleted, and move them to the trash.

The limits are those of the account (MAILDIRQUOTA) where it has any, else those that the file has.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.errors import QuotaExceeded, StoreError, trouble
from courierpy.maildir.files import replace, unlink
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.formats.maildirsize import NOTHING, Amount, Limits, MaildirSize
from courierpy.maildir.names import MAILDIRSIZE
from courierpy.maildir.quotacount import FREE, count, octets_in, times
from courierpy.model import fresh
from courierpy.system import log
from courierpy.system.regular import open_regular, whole

BELIEVED = 15 * 60                 # seconds for which a count that nothing was added to is believed
TRIES = 5                          # counts while messages come and go
SHORTEST_LINE = 16                 # octets of the lines of a message, with CR LF, on the average
FEW = 32                           # changes that have a line each
_told: set[str] = set()            # what the log has been told by this session
fresh.forgets(_told.clear)


def account_limits(text: str) -> Limits | None:
    """What MAILDIRQUOTA says; None where that is nothing that can be understood, which is told in the log."""
    word = os.fsencode(text)
    if not maildirsize.is_limits(word):
        _tell(f"MAILDIRQUOTA: as 1000000S,1000C is expected, not {log.quoted(text)}: the account has no "
              "quota by it")
        return None
    return maildirsize.limits(word) if word.strip() else None


class Quota:
    """Of the Maildir at ``root``.  ``account``: the limits that the account has, which are written to
    the file; None: those of the file count.  ``scratch``: a directory for what gets a name in the root.
    ``host``, ``sync``, ``read_only``: as in StoreOptions."""

    __slots__ = ("_account", "_host", "_path", "_read_only", "_root", "_scratch", "_sync",
                 "is_ignored")

    def __init__(self, root: str, scratch: str, account: Limits | None, *, host: str, sync: bool,
                 read_only: bool) -> None:
        self._root = os.fsencode(root)
        self._path = os.path.join(root, MAILDIRSIZE)
        self._host = host
        self._sync = sync
        self._read_only = read_only
        self._scratch = scratch
        self._account = account
        self.is_ignored = False        # it is counted, and refuses nothing

    @property
    def by_account(self) -> bool:
        """Does the account have limits, so that nobody may change them here?"""
        return self._account is not None

    @staticmethod
    def counts(path: str) -> bool:
        """Do the messages of the mailbox in this directory count?"""
        return os.path.basename(path) != FREE

    # -- what a message counts

    @staticmethod
    def amount(file: bytes, octets: int) -> Amount:
        """What the file of this name counts; ``octets``: its size, where the name does not say it."""
        if not maildirsize.counts(file):
            return NOTHING
        named = maildirsize.octets_of(file)
        return Amount(named if named >= 0 else octets, 1)

    @staticmethod
    def amount_at(path: bytes) -> Amount:
        """What the file at ``path`` counts; nothing where it is gone."""
        octets = octets_in(*os.path.split(path))
        return Amount(octets, 1) if octets >= 0 else NOTHING

    @staticmethod
    def renamed(directory: bytes, before: bytes, now: bytes) -> Amount:
        """What changes where a file of this directory (with a slash at its end), of which ``now`` is the
        name, had another one ``before``."""
        counted = maildirsize.counts(now)
        if counted == maildirsize.counts(before):
            return NOTHING
        octets = maildirsize.octets_of(now)
        if octets < 0:
            try:
                octets = os.stat(directory + now).st_size
            except OSError:
                octets = 0             # it went meanwhile
        return Amount(octets, 1) if counted else Amount(-octets, -1)

    # -- what there is

    def usage(self) -> MaildirSize | None:
        """What may be there, and what is; None where there is no limit.  Raises a store error."""
        found = self._current()
        return found if found is not None and found.limits else None

    def _current(self) -> MaildirSize | None:
        """What the file says, where that can be believed; else what there is.  None without a quota."""
        text, found = self._read()
        if text is None and not self._account:
            return None
        limits = self._limits(text)
        return found if found is not None and found.limits == limits else self.recount(limits)[0]

    def _read(self) -> tuple[bytes | None, MaildirSize | None]:
        """(the first line, what the file says); None for what is not there or cannot be used.  A file that
        cannot be read is as none, as in Courier: nobody is without mail for its sake."""
        try:
            data = whole(self._path, maildirsize.LARGEST_OCTETS)
        except FileNotFoundError:
            return None, None
        except OSError as error:
            _tell(f"{trouble(self._path, error)}: there is no quota by it")
            return None, None
        return data.partition(b"\n")[0], maildirsize.parse(data)

    def _limits(self, text: bytes | None) -> Limits:
        """``text``: the first line, if there is one."""
        if self._account is not None:
            return self._account
        text = text or b""
        if not maildirsize.is_limits(text):
            _tell(f"{self._path}: as 1000000S,1000C is expected in the first line, not "
                  f"{log.quoted(text)}: there is no other limit than what can be understood")
        return maildirsize.limits(text)

    def admit(self, *comes: Amount) -> None:
        """So much is about to come.  Raises QuotaExceeded; another store error where it cannot be known."""
        more = sum(comes, NOTHING)
        if self.is_ignored or more.octets <= 0 and more.messages <= 0:
            return
        found = self._current()
        if found is None or not found.limits.excess(found.there, more):
            return
        if found.changes != 1 or not self._is_young():
            found, sure = self.recount(found.limits)
            # where messages come and go all the time nobody knows, and nobody is refused
            if not sure or not found.limits.excess(found.there, more):
                return
        raise QuotaExceeded(f"{self._path}: {more.octets} octets in {more.messages} messages are too much "
                            f"beside {found.there.octets} in {found.there.messages}: the quota is "
                            f"{found.limits.line().decode().strip()}")

    def admit_octets(self, octets: int, messages: int, instead: Amount | None = None) -> None:
        """As admit(), of messages that are announced with CR LF at the ends of their lines, and have LF when
        they are here."""
        self.admit(Amount(octets - octets // SHORTEST_LINE, messages), *[-instead] if instead else ())

    def _is_young(self) -> bool:
        try:
            return 0 <= time.time() - os.stat(self._path).st_mtime < BELIEVED
        except OSError:
            return False

    # -- what changes

    def changed(self, *changes: Amount, together: bool = False) -> None:
        """So much came, or went: it is in the file, as one change where it was done ``together``.  Where it
        cannot be written the log has it: what was done to the messages is done."""
        if together or len(changes) > FEW:
            changes = (sum(changes, NOTHING),)
        # one write at the end of what is the file at this moment: others do the same, and one of them
        # may have given it its name a moment ago
        lines = b"".join([change.line() for change in changes if change])
        if not lines:
            return
        try:
            fd = open_regular(self._path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return                     # who asks next counts, if the account has a quota
        except OSError as error:
            _tell(f"{trouble(self._path, error)}: what changed is not counted")
            return
        try:
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) == b"\n" and os.write(fd, lines) == len(lines):
                    return
            finally:
                os.close(fd)           # a file server may tell only now that its disk is full
        except OSError as error:
            _tell(f"{trouble(self._path, error)}: what changed is not counted")
            return
        self.recount_quietly()         # a line of which a part is missing would spoil the next one

    def recount_quietly(self) -> None:
        """As recount(), where a quota is kept and nothing depends on it now."""
        try:
            text = self._read()[0]
            if text is not None:
                self.recount(self._limits(text))
        except StoreError as why:
            _tell(f"{why}: the quota is not counted again")

    def recount(self, limits: Limits) -> tuple[MaildirSize, bool]:
        """The messages are counted, and the file is made anew with these limits.  (What there is, is that
        sure?)  Raises a store error where the Maildir cannot be read."""
        for _ in range(TRIES):
            before = times(self._root)
            found = MaildirSize(limits, count(self._root), 1)
            try:
                self._write(found)
            except StoreError as why:
                _tell(f"{why}: the quota is not kept there")
            if times(self._root) == before:
                return found, True
        return found, False

    def _write(self, found: MaildirSize) -> None:
        """Raises a store error."""
        if not self._read_only:
            replace(self._path, found.octets(), self._scratch, self._host, "NeWmAiLdIrSiZe", self._sync)

    def limit(self, limits: Limits) -> None:
        """These limits from now on, none at all without any.  Raises a store error."""
        if limits:
            self._write(MaildirSize(limits, count(self._root), 1))
            self.recount(limits)       # as something may have come meanwhile
        else:
            unlink(self._path)


def _tell(text: str) -> None:
    """In the log, once by a session."""
    if text not in _told:
        _told.add(text)
        log.warn(text)
