"""How a session waits for its client.  Until the client says something it is told what it asked to hear of,
and memory is given back; a signal ends the wait, and no line is cut by one.
"""
from __future__ import annotations

from time import monotonic

from courierpy.imap.grammar import lines
from courierpy.model.replies import Bye
from courierpy.system.conn import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from courierpy.imap.commands import Row
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update

    class Between(Protocol):
        """What the client asked to hear of by itself: see imap/notifier.py."""

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

        def did(self, row: Row) -> None:
            """A command of the client is done."""

        def close(self) -> None:
            """Hear no more."""


REST = 1.0                     # seconds without a command after which memory is given back


class Waiting:
    """``stopping``: a signal said that the session is to end, at the next moment between two commands."""

    def __init__(self, session: Session) -> None:
        self.stopping = False
        self._session = session
        self._may_end = False          # by a signal, now: nothing is being done

    def stop(self) -> None:
        """From a signal handler: end at the next moment between two commands."""
        self.stopping = True
        if self._may_end:
            raise Bye(lines.SHUT_DOWN)

    def read(self, timeout: float) -> bytes:
        """Input of the client; b"" at its end.  Raises TimedOut after ``timeout`` seconds without any, and
        Bye when told to stop."""
        session = self._session
        session.conn.flush()
        self._may_end = True
        try:
            if self.stopping:
                raise Bye(lines.SHUT_DOWN)
            if session.between is not None and timeout > 0 and not session.framer.midway:
                return self._listen(session.between, timeout)
            if session.selected is not None and session.selected.folder.busy and timeout > REST:
                try:
                    return session.conn.read(REST)
                except TimedOut:
                    session.selected.folder.rest()
                    timeout -= REST
            return session.conn.read(timeout)
        finally:
            self._may_end = False

    def _listen(self, between: Between, timeout: float) -> bytes:
        """Input of the client; until that comes it is told what happens."""
        session = self._session
        end = monotonic() + timeout
        session.row = None
        while True:
            self._may_end = False      # a line is told whole
            between.tell()
            fds, pause = between.listens()
            left = end - monotonic()
            if left <= 0:
                raise TimedOut
            if session.selected is not None and session.selected.folder.busy:
                pause = min(pause, REST)
            ready = self.wait(tuple(fds), min(left, pause))
            if session.conn.infd in ready:
                try:
                    return session.conn.read(0)
                except TimedOut:       # a TLS record that is not whole yet
                    continue
            if not ready and session.selected is not None:
                session.selected.folder.rest()

    def wait(self, others: tuple[int, ...], timeout: float) -> set[int]:
        """As Conn.wait; Bye when told to stop."""
        conn = self._session.conn
        conn.flush()
        self._may_end = True
        try:
            if self.stopping:
                raise Bye(lines.SHUT_DOWN)
            return conn.wait(others, timeout)
        finally:
            self._may_end = False
