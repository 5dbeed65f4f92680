"""UNSELECT.  RFC 3691: leave the mailbox without expunging."""
from __future__ import annotations

from courierpy.commands import LEAVES_FOLDER, SELECTED, command
from courierpy.commands.cmd_select import leave
from courierpy.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args


@command(b"UNSELECT", when=SELECTED, flags=LEAVES_FOLDER)
def unselect(session: Session, args: Args) -> str:
    args.end()
    leave(session)
    return "mailbox closed."


EXTENSION = Extension(b"UNSELECT", commands=(b"UNSELECT",))
