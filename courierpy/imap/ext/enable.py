"""ENABLE.  RFC 5161.  What can be enabled is what extensions plug into its seam."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"ENABLE", when=ANY)
def enable(session: Session, args: Args) -> str:
    wanted = []
    while args.more():
        wanted.append(args.word())
    args.end()
    if not wanted:
        raise Bad("ENABLE needs a capability.")
    before = set(session.enabled)
    told = {word.upper(): word for word in session.capabilities()}
    for token in wanted:
        turn_on = ext.find("enable", token)
        # RFC 5161 3.1: what is not told is passed over as what is not known
        if turn_on is not None and token in told and token not in before:
            turn_on(session)
            session.enabled.add(token)
    # one may bring another along, which is told if it was named
    enabled = [token for token in dict.fromkeys(wanted) if token in session.enabled and token not in before]
    session.write(lines.data(b"ENABLED", *[told.get(token, token) for token in enabled]))
    return "Options enabled"


EXTENSION = Extension(b"ENABLE")
