"""UNAUTHENTICATE.  RFC 8437: the connection is before its login again.

The session ends, and its client goes back to where logins are; so it is told only where there is a way
(COURIERPY_RETURN), and is BAD elsewhere (RFC 8437 3: no NO).
"""
from __future__ import annotations

from courierpy.imap.commands import ANY, LEAVES_FOLDER, Done, command
from courierpy.imap.commands.cmd_select import leave
from courierpy.imap.ext import Extension
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.system.deflate import Deflate
    from courierpy.system.stream import Stream

TEXT = "You are not authenticated any more."


@command(b"UNAUTHENTICATE", when=ANY, flags=LEAVES_FOLDER)
def unauthenticate(session: Session, args: Args) -> str | Done:
    args.end()
    if not session.has_way_back:
        raise Bad("There is no login here to go back to.")
    leave(session)
    session.go_back()
    if session.conn.plain:
        return TEXT
    stream: Any = session.conn.stream              # who has TLS of its own has no way back: it is DEFLATE
    stream.finishing = True
    return Done(TEXT, layer=lambda lower, _: _uncompressed(session, stream))


def _uncompressed(session: Session, stream: Deflate) -> Stream:
    """COMPRESS is over, for both sides: what the client says next is for its login.  RFC 8437 4.1."""
    found, said = stream.leave()
    session.framer.feed(said)
    return found


EXTENSION = Extension(b"UNAUTHENTICATE", off="!COURIERPY_RETURN")
