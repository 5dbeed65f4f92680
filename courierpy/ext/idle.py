"""IDLE.  RFC 2177.  A look every IMAP_IDLE_TIMEOUT seconds, until DONE."""
from __future__ import annotations

import time

from courierpy import sync
from courierpy.commands import ANY, command
from courierpy.conn import Gone, TimedOut
from courierpy.errors import Bad
from courierpy.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args


@command(b"IDLE", when=ANY)
def idle(session: Session, args: Args) -> str:
    from courierpy.session import READ_TIMEOUT
    args.end()
    session.write(b"+ entering idle mode\r\n")
    pause = max(1, session.settings.number("IMAP_IDLE_TIMEOUT"))
    end = time.monotonic() + READ_TIMEOUT
    while True:
        sync.tell(session, expunges=True)
        line = session.framer.line()
        if line is not None:
            if not isinstance(line, bytes) or line.strip().upper() != b"DONE":
                raise Bad("Error in IMAP command received by server.")
            return "IDLE completed"
        left = end - time.monotonic()
        if left <= 0:
            raise TimedOut
        if session.wait((), min(pause, left)):
            try:
                data = session.read(0)
            except TimedOut:        # a TLS record that is not whole yet
                continue
            if not data:
                raise Gone
            session.framer.feed(data)


EXTENSION = Extension(b"IDLE", commands=(b"IDLE",))
