"""ID.  RFC 2971.  The client's words go to the log, ours to the client."""
from __future__ import annotations

from courierpy.imap import ident as words
from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"ID", when=ANY)
def ident(session: Session, args: Args) -> str:
    pairs = words.pairs(args)
    if pairs:
        log.info(f"ID, {session.who}, {words.told(pairs)}")
    session.write(words.reply(session.settings))
    return "ID completed"


EXTENSION = Extension(b"ID")
