"""ENABLE.  RFC 5161.  What can be enabled is what extensions plug into its seam."""
from __future__ import annotations

from courierpy import ext
from courierpy.commands import ANY, command
from courierpy.errors import Bad
from courierpy.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args


@command(b"ENABLE", when=ANY)
def enable(session: Session, args: Args) -> str:
    wanted = []
    while args.maybe_sp():
        wanted.append(args.word())
    args.end()
    if not wanted:
        raise Bad("ENABLE needs a capability.")
    told = b""
    for token in wanted:
        turn_on = ext.find("enable", token)
        if turn_on is not None and token not in session.enabled:
            turn_on(session)
            session.enabled.add(token)
            told += b" " + token
    session.write(b"* ENABLED%s\r\n" % told)
    return "Options enabled"


EXTENSION = Extension(b"ENABLE", commands=(b"ENABLE",))
