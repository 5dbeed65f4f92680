"""UNSELECT.  RFC 3691: leave the mailbox without expunging."""
from __future__ import annotations

from courierpy.imap.commands import LEAVES_FOLDER, SELECTED, command
from courierpy.imap.commands.cmd_select import leave
from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"UNSELECT", when=SELECTED, flags=LEAVES_FOLDER)
def unselect(session: Session, args: Args) -> str:
    args.end()
    leave(session)
    return "mailbox closed."


EXTENSION = Extension(b"UNSELECT")
