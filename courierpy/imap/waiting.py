"""How a session waits for its client.  Until the client says something it is told what it asked to hear of,
and memory is given back; a signal ends the wait, and no line is cut by one.
"""
from __future__ import annotations

from time import monotonic

from courierpy.imap.grammar import lines
from courierpy.imap.metered import Pushes
from courierpy.model.replies import Bye
from courierpy.system import metrics
from courierpy.system.conn import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from courierpy.imap.commands import Row
    from courierpy.imap.grammar.fetchitems import FetchItem
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update
    from courierpy.system.presence import Presence

    class Woke(Protocol):
        """How a session came out of its sleep: see hibernate/woken.py."""

        due: float
        words: int

    class Sleep(Protocol):
        """The way of a session to its sleep: see hibernate/sleeper.py."""

        after: int
        quiet: int

        @property
        def woken(self) -> Woke | None: ...

        def sleep(self, tag: bytes, due: float, every: int, expunges: bool = True,
                  hears: bool = True) -> None: ...

        def stays(self) -> None: ...

    class Between(Protocol):
        """What the client asked to hear of by itself: see imap/notifier.py."""

        @property
        def expunges(self) -> bool:
            """May what went be told between two commands?"""

        def listens(self) -> tuple[set[int], float]:
            """(descriptors that can be read when there may be something to tell, seconds until it looks in
            any case)"""

        def tell(self) -> None:
            """Tell what happened, between two commands."""

        def tell_others(self) -> None:
            """Tell what happened outside the selected mailbox."""

        def chosen(self, said: list[Update]) -> list[Update]:
            """What of these updates of the selected mailbox is told."""

        def told(self, said: Iterable[Update]) -> None:
            """These were told."""

        def of_new(self) -> Sequence[FetchItem]:
            """What it fetches of messages that are new in the selected mailbox."""

        def did(self, row: Row, mailboxes: list[str]) -> None:
            """A command of the client is done, which named these mailboxes."""

        def close(self) -> None:
            """Hear no more."""

        def ear(self) -> int | None:
            """What it hears by while this process is not there: a descriptor; -1: it need not hear.  None:
            nobody else can do it."""

        def packed(self) -> tuple[bytes, bytes]:
            """What makes it again in another process: the key in the extensions' table ``woken``, octets."""


REST = 1.0                     # seconds without a command after which memory is given back


class Waiting:
    """One session's wait for its client.

    ``stopping``: a signal said that the session is to end, at the next moment between two commands.
    ``refusal`` says why it is to end, "" as long as it is not; None where nobody says so.  ``presence``: who
    looks for sessions finds there what this one is at, None where it has no file."""

    def __init__(self, session: Session) -> None:
        self.stopping = False
        self.refusal: Callable[[], str] | None = None
        self.presence: Presence | None = None
        self._why = lines.SHUT_DOWN    # to stop
        self._session = session
        self._may_end = False          # by a signal, now: nothing is being done
        self._pushes = Pushes() if metrics.current is not None else None

    def stop(self, why: str = lines.SHUT_DOWN) -> None:
        """From a signal handler: end at the next moment between two commands.  ``why``: for the client."""
        self.stopping = True
        self._why = why
        if self._may_end:
            raise Bye(why)

    def end(self) -> None:
        """The client has said its last word.  Ours goes with the end of the connection; where that counts,
        the session is none of those that are on by then, as its client may come again at once."""
        if self.presence is not None and self.presence.is_counted:
            self.presence.leave()
        self._session.conn.flush_and_shut()

    def is_on(self, idles: bool = False, sleeps: bool = False) -> None:
        """To who looks for sessions: the selected mailbox, and how it is waited there (presence.py)."""
        if self.presence is not None:
            selected = self._session.selected
            self.presence.be(selected.folder.name if selected is not None else "", idles, sleeps)

    def heard(self) -> None:
        """There may be something to tell the client, since now."""
        if self._pushes is not None:
            self._pushes.heard(self._session.conn.sent)

    def told(self) -> None:
        """Whatever there was to tell is written."""
        if self._pushes is not None and metrics.current is not None:
            self._pushes.told(self._session.conn.sent, metrics.current)

    def read(self, timeout: float) -> bytes:
        """Input of the client; b"" at its end.  Raises TimedOut after ``timeout`` seconds without any, and
        Bye when told to stop."""
        session, data = self._session, None
        session.conn.flush()
        if self._pushes is not None:
            self._pushes.forget()
        if session.between is None and not self.stopping:
            data = session.conn.read_awake()       # there is no time for anything else
        if data is None:
            data = self._pause(session, timeout)
        if self.refusal is not None:
            self._look()
        return data

    def _pause(self, session: Session, timeout: float) -> bytes:
        """read() where the client need not say anything soon."""
        self.is_on()
        self._may_end = True
        try:
            if self.stopping:
                raise Bye(self._why)
            return self._read(session, timeout)
        finally:
            self._may_end = False

    def _look(self) -> None:
        if self.refusal is not None and (why := self.refusal()):
            raise Bye(why, b"ALERT")

    def _read(self, session: Session, timeout: float) -> bytes:
        """read() where there may be something to do meanwhile."""
        conn, sleeper = session.conn, session.sleeper
        midway = session.framer.midway
        if session.between is not None and timeout > 0 and not midway:
            return self._listen(session.between, timeout)
        if timeout > REST and _is_busy(session):
            try:
                return conn.read(REST)
            except TimedOut:
                rest(session)
                timeout -= REST
        if sleeper is not None and timeout > sleeper.quiet > 0 and not midway:
            return self._outlast(sleeper, timeout)
        return conn.read(timeout)

    def _outlast(self, sleeper: Sleep, timeout: float) -> bytes:
        """Input of the client; where it says nothing for long the session sleeps, and is woken by what it
        says, or when its time is over."""
        conn, woken = self._session.conn, sleeper.woken
        end, pause = monotonic() + timeout, float(sleeper.quiet)
        if woken is not None:          # its keeper died, perhaps: it may sleep again at once
            end, pause = woken.due, 0.0
        while True:
            try:
                data = conn.read(max(0.0, min(pause, end - monotonic())))
            except TimedOut:
                if monotonic() >= end:
                    raise
            else:
                sleeper.stays()
                return data
            self._may_end = False
            conn.rest()
            sleeper.sleep(b"", end, 0, hears=False)
            sleeper.stays()            # it has to
            self.is_on()
            pause, self._may_end = float(sleeper.quiet), True
            if self.stopping:
                raise Bye(self._why)

    def _listen(self, between: Between, timeout: float) -> bytes:
        """Input of the client; until that comes it is told what happens, and the session may sleep."""
        session = self._session
        sleeper, end = session.sleeper, monotonic() + timeout
        woken = sleeper.woken if sleeper is not None else None
        if woken is not None:
            end = woken.due
        # who was woken may sleep again at once
        rests_at = monotonic() + (sleeper.after if sleeper is not None and woken is None else 0)
        session.row = None
        while True:
            self._may_end = False      # a line is told whole
            between.tell()
            left = end - monotonic()
            if left <= 0:
                raise TimedOut
            if sleeper is not None:
                if monotonic() >= rests_at:
                    session.conn.rest()
                    sleeper.sleep(b"", end, 0, between.expunges)
                    rests_at = monotonic() + sleeper.after         # it has to stay awake
                left = min(left, max(0.0, rests_at - monotonic()))
                if woken is not None:  # it hears for itself from now on, from before its next look
                    sleeper.stays()
                    woken = None
                    between.listens()
                    continue
            fds, pause = between.listens()
            if _is_busy(session):
                pause = min(pause, REST)
            ready = self.wait(tuple(fds), min(left, pause))
            if session.conn.infd in ready:
                try:
                    return session.conn.read(0)
                except TimedOut:       # a TLS record that is not whole yet
                    continue
            if not ready:
                rest(session)

    def wait(self, others: tuple[int, ...], timeout: float) -> set[int]:
        """As Conn.wait; Bye when told to stop."""
        conn = self._session.conn
        conn.flush()
        self.is_on(self._session.row is not None and self._session.row.name == b"IDLE")
        self.told()
        self._may_end = True
        try:
            if self.stopping:
                raise Bye(self._why)
            found = conn.wait(others, timeout)
        finally:
            self._may_end = False
        if not found.isdisjoint(others):
            self.heard()
        self._look()
        return found


def _is_busy(session: Session) -> bool:
    """Is there memory that rest() gives back?"""
    return session.folders.options.busy or session.selected is not None and session.selected.folder.busy


def rest(session: Session) -> None:
    """Its client says nothing for a while: what can be had again goes."""
    session.folders.options.rest()
    if session.selected is not None:
        session.selected.folder.rest()
