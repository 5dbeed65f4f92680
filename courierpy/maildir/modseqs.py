"""The MODSEQs of an open mailbox, for a client that asked for them.  RFC 7162.

Every look is compared with the log (index/modseqlog.py); what the log does not know yet gets
its number under the mailbox's lock, by a look that begins when the lock is held: so what is
written never goes back behind what another session wrote.  Changes of our own are made
and numbered under one lock, those of others before them.

Whose client did not ask has none of this: its changes are numbered by who looks next.
"""
from __future__ import annotations

import time

from courierpy.maildir.errors import Busy, FolderMissing, StoreError
from courierpy.maildir.index.history import History
from courierpy.maildir.index.modseqlog import ModseqLog
from courierpy.model.messages import Snapshot
from courierpy.model.uidset import NO_UIDS
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.model.flags import FlagChange
    from courierpy.model.messages import State

A_MOMENT = 0.05                    # seconds that a FETCH waits for numbers before its lines


class Modseqs:
    """The MODSEQs of an open mailbox.

    ``kept``: they outlast the session; False where nothing can be written (RFC 7162 3.1.2.2), and then
    there are none.  ``told``: the number up to which our client knows all.

    A context manager: what is changed inside gets one number at its end, under the lock.
    """

    def __init__(self, place: MailboxDirectory, look: Callable[[bool], Snapshot]) -> None:
        """``look``: a look at the mailbox, as Looker.scan."""
        self.kept = place.options.locks
        self.told = 0
        self._lock = place.lock
        self._look_at = look
        self._log = ModseqLog(place.index)
        self._sync = place.options.sync_all
        self._readonly = False
        self._recent = NO_UIDS         # found, and not handed out yet
        self._looked = 0               # nanoseconds since 1970, when the last look began
        self._agreed = 0               # the generation of what the log was found to say
        self._given: Snapshot | None = None

    def close(self) -> None:
        self._log.close()

    @property
    def history(self) -> History:
        """The history of the mailbox, as of the last look."""
        assert self._log.history is not None
        return self._log.history

    # -- looking

    def scan(self, readonly: bool) -> Snapshot:
        """As Mailbox.scan, with MODSEQs where they are kept; the same object when nothing changed."""
        self._readonly = readonly
        return self._numbered(self._number())

    def overheard(self, plain: Snapshot) -> Snapshot | None:
        """As scan(), of this look; None where the log does not know it yet, and others have the lock for
        longer than a moment."""
        self._recent |= plain.recent
        if self.kept and not self._known(plain):
            plain = self._stamp(plain, A_MOMENT)
            if self._agreed != plain.messages.generation:
                return None
        return self._numbered(plain)

    def _numbered(self, plain: Snapshot) -> Snapshot:
        recent, self._recent = self._recent, NO_UIDS
        if not self.kept:
            return plain.with_recent(recent) if recent else plain
        messages = self.history.messages
        given = self._given
        if given is None or recent or given.recent or given.messages is not messages \
                or (given.uidvalidity, given.uidnext) != (plain.uidvalidity, plain.uidnext):
            given = self._given = Snapshot(plain.uidvalidity, plain.uidnext, messages, recent)
        return given

    def refresh(self) -> None:
        """All that is there now has its number in ``history``.  Under the lock."""
        if self.kept:
            plain = self._look()
            if not self._known(plain):
                self._agreed = plain.messages.generation if self._write(plain) else 0

    def untouched(self, modseq: int, uids: Iterable[int], change: FlagChange) -> set[int]:
        """Those of the messages, all changed after ``modseq``, of which is known that nothing was changed
        that ``change`` sets or takes away.  RFC 7162 3.1.3."""
        words = {word.lower() for word in change.keywords}

        def touched(state: State) -> tuple[int, frozenset[bytes]]:
            return state[0] & change.flags, frozenset(map(bytes.lower, state[1])) & words
        if change.mode == "=":             # it concerns all flags
            return set()
        return {uid for uid, states in self._log.states_since(modseq, uids).items()
                if len(set(map(touched, states))) == 1}

    def _look(self) -> Snapshot:
        self._looked = time.time_ns()
        found = self._look_at(self._readonly)
        self._recent |= found.recent
        return found

    def _number(self) -> Snapshot:
        """A look without MODSEQs, of which the log knows all."""
        plain = self._look()
        if self.kept and not self._known(plain):
            plain = self._stamp(plain)
        return plain

    def _known(self, plain: Snapshot) -> bool:
        """Does the log say just what is there?"""
        known = self._log
        news = known.catch_up()
        if known.lost or known.torn or known.history is None:
            return False
        if plain.messages.generation == self._agreed and not news:
            return True
        if known.history.uidvalidity != plain.uidvalidity \
                or not known.history.agrees(plain.messages, plain.uidnext):
            return False
        known.history = known.history.sharing(plain.messages)
        self._agreed = plain.messages.generation
        return True

    def _stamp(self, plain: Snapshot, patience: float | None = None) -> Snapshot:
        """Number what the log does not know, unless another session does it meanwhile.  ``patience``: seconds
        after which it is left, where others have the lock; None: it has to be done."""
        first = self._given is None
        lock = self._lock
        try:
            if not lock.take(lambda: self._known(plain), patience=patience):
                return plain
            try:
                plain = self._look()
                written = self._write(plain)
            finally:
                lock.release()
        except FolderMissing:
            raise
        except StoreError as why:
            if patience is not None and isinstance(why, Busy):
                return plain
            log.err(f"{why}: changes cannot be numbered")
            written = False
            if not first:              # for this session alone
                self._log.stamp(plain.uidvalidity, plain.uidnext, plain.messages, self._looked, write=False)
        if not written and first:
            self.kept = False
        self._agreed = plain.messages.generation if written else 0
        return plain

    def _write(self, plain: Snapshot) -> bool:
        return self._log.stamp(plain.uidvalidity, plain.uidnext, plain.messages, self._looked,
                               sync=self._sync)

    # -- changes of our own

    def __enter__(self) -> Modseqs:
        if self.kept:
            self._lock.take()
            try:
                self.refresh()
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:
        if self.kept:
            try:
                self.refresh()
            finally:
                self._lock.release()
