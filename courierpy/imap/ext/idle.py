"""IDLE.  RFC 2177.  Until DONE the client hears of changes when they happen.

With IMAP_ENHANCEDIDLE the folder's watch wakes the session; each time it tells
what is there by then, so that a burst costs as many looks as the client takes.
The clock (IMAP_IDLE_TIMEOUT) stays as a fallback, and for changes of other hosts
that the kernel does not hear of.  After a while the process may end, and a client's
DONE or a change comes to another one: see hibernate/sleeper.py.
"""
from __future__ import annotations

import time

from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.imap.waiting import rest
from courierpy.maildir.watch import Refused
from courierpy.model.replies import Bad
from courierpy.system import log
from courierpy.system.conn import Gone, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.watch import Watch


def watch_of(session: Session) -> Watch | None:
    """The selected mailbox's watch, if there can be one."""
    if session.selected is None or not session.settings.flag("IMAP_ENHANCEDIDLE"):
        return None
    try:
        return session.selected.folder.watch()
    except Refused as why:
        log.warn(f"IDLE looks every {pause_of(session)} seconds: {why}")
        return None


def pause_of(session: Session) -> int:
    """Seconds between two looks."""
    return max(1, session.settings.number("IMAP_IDLE_TIMEOUT"))


@command(b"IDLE", when=ANY)
def idle(session: Session, args: Args) -> str:
    args.end()
    sleeper = session.sleeper
    woken = sleeper.woken if sleeper is not None else None
    enhanced = session.settings.flag("IMAP_ENHANCEDIDLE")
    watch = None
    if woken is None:
        watch = watch_of(session)
        session.write(lines.go_on(b"entering ENHANCED idle mode" if watch else b"entering idle mode"))
    session.conn.rest()
    rest(session)
    alive = _Alive(session, woken.due if woken is not None else 0.0)
    hears = watch is not None or woken is not None
    # who was woken may sleep again at once
    rests_at = time.monotonic() + (sleeper.after if sleeper is not None and woken is None else 0)
    while True:
        session.tell(expunges=True, flags_of_new=hears)
        session.tell_news()
        if session.between is not None:            # RFC 5465 4: exactly its events
            session.between.tell_others()
        line = session.framer.line()
        if line is not None:
            if sleeper is not None:
                sleeper.stays()
            if not isinstance(line, bytes) or line.strip().upper() != b"DONE":
                raise Bad("Error in IMAP command received by server.")
            return "IDLE completed"
        pause = alive.left(pause_of(session))
        # the keeper hears for all by one instance: it may have a watch where there was none for us
        if sleeper is not None and (enhanced or session.selected is None):
            if time.monotonic() >= rests_at:
                sleeper.sleep(args.tag, alive.next, alive.every)
                rests_at = time.monotonic() + sleeper.after    # it has to stay awake
            pause = min(pause, max(0.0, rests_at - time.monotonic()))
        if woken is not None and sleeper is not None:
            # it stays, and has to hear for itself, from before its next look
            sleeper.stays()
            woken, watch = None, watch_of(session)
            hears = watch is not None
            continue
        fds, soon = session.between.listens() if session.between is not None else (set(), pause)
        if watch is not None:
            fds, soon = {*fds, watch.fd}, 0.0 if watch.waiting else soon
        if session.conn.infd in session.waiting.wait(tuple(fds), min(pause, soon)):
            read_now(session)


class _Alive:
    """A word now and then, so that nobody on the way forgets the connection, and
    so that the end of a client that is gone is noticed.  Without it (interval 0) an
    IDLE ends as any wait does.  ``due``: when the next is, if it is known."""

    def __init__(self, session: Session, due: float = 0.0) -> None:
        from courierpy.imap.dialogue import READ_TIMEOUT
        self.session = session
        self.every = session.settings.number("IMAP_IDLE_KEEPALIVE")
        self.next = due or time.monotonic() + (self.every or READ_TIMEOUT)

    def left(self, pause: float) -> float:
        """Seconds to wait, at most ``pause``; says the word when it is time."""
        now = time.monotonic()
        if now >= self.next:
            if not self.every:
                raise TimedOut
            self.session.write(lines.STILL_HERE)
            self.next = now + self.every
        return min(pause, self.next - now)


def read_now(session: Session) -> None:
    """What the client said, if that is whole.  Raises Gone at its end."""
    try:
        data = session.waiting.read(0)
    except TimedOut:                   # a TLS record that is not whole yet
        return
    if not data:
        raise Gone
    session.framer.feed(data)


EXTENSION = Extension(b"IDLE")
