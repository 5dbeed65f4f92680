"""IDLE.  RFC 2177.  Until DONE the client hears of changes when they happen.

With IMAP_ENHANCEDIDLE the folder's watch wakes the session; each time it tells
what is there by then, so that a burst costs as many looks as the client takes.
The clock (IMAP_IDLE_TIMEOUT) stays as a fallback, and for changes of other hosts
that the kernel does not hear of.
"""
from __future__ import annotations

import time

from courierpy import log
from courierpy.commands import ANY, command
from courierpy.conn import Gone, TimedOut
from courierpy.errors import Bad
from courierpy.ext import Extension
from courierpy.maildir.watch import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.watch import Watch
    from courierpy.session import Session
    from courierpy.wire.args import Args


def _watch(session: Session) -> Watch | None:
    """The selected mailbox's watch, if there can be one."""
    if session.selected is None or not session.settings.flag("IMAP_ENHANCEDIDLE"):
        return None
    try:
        return session.selected.folder.watch()
    except Refused as why:
        log.warn(f"{session.user}: IDLE looks every {_pause(session)} seconds: {why}")
        return None


def _pause(session: Session) -> int:
    return max(1, session.settings.number("IMAP_IDLE_TIMEOUT"))


@command(b"IDLE", when=ANY)
def idle(session: Session, args: Args) -> str:
    args.end()
    watch = _watch(session)
    session.write(b"+ entering ENHANCED idle mode\r\n" if watch else b"+ entering idle mode\r\n")
    others = (watch.fd,) if watch else ()
    alive = _Alive(session)
    while True:
        session.tell(expunges=True, flags_of_new=watch is not None)
        line = session.framer.line()
        if line is not None:
            if not isinstance(line, bytes) or line.strip().upper() != b"DONE":
                raise Bad("Error in IMAP command received by server.")
            return "IDLE completed"
        if session.conn.infd in session.wait(others, alive.left(_pause(session))):
            _read(session)


class _Alive:
    """A word now and then, so that nobody on the way forgets the connection, and
    so that the end of a client that is gone is noticed.  Without it (interval 0) an
    IDLE ends as any wait does."""

    def __init__(self, session: Session) -> None:
        from courierpy.session import READ_TIMEOUT
        self.session = session
        self.every = session.settings.number("IMAP_IDLE_KEEPALIVE")
        self.next = time.monotonic() + (self.every or READ_TIMEOUT)

    def left(self, pause: float) -> float:
        """Seconds to wait, at most ``pause``; says the word when it is time."""
        now = time.monotonic()
        if now >= self.next:
            if not self.every:
                raise TimedOut
            self.session.write(b"* OK Still here\r\n")
            self.next = now + self.every
        return min(pause, self.next - now)


def _read(session: Session) -> None:
    try:
        data = session.read(0)
    except TimedOut:                   # a TLS record that is not whole yet
        return
    if not data:
        raise Gone
    session.framer.feed(data)


EXTENSION = Extension(b"IDLE", commands=(b"IDLE",))
