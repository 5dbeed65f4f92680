"""EXPUNGE.  RFC 9051 6.4.3."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import SELECTED, WRITES, Done, command
from courierpy.imap.disposing import disposal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.errors import StoreError


@command(b"EXPUNGE", when=SELECTED, flags=WRITES, rights="e")
def expunge(session: Session, args: Args) -> Done:
    args.end()
    return remove(session, session.need_selected().view.messages.deleted())


def remove(session: Session, uids: list[int]) -> Done:
    """Removes these messages of the selected mailbox, \\Deleted all; gives the tagged OK.

    Raises the StoreError of the first that the store refused; the others are gone then, and are told.
    """
    refused: list[StoreError] = []
    gone = session.need_selected().folder.expunge(uids, refused, disposal(session, len(uids))) if uids else []
    if refused:
        raise refused[0]
    return Done("EXPUNGE completed", (lambda: ext.tagged_code(b"EXPUNGE", session)) if gone else None)
