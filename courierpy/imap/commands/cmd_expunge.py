"""EXPUNGE.  RFC 9051 6.4.3."""
from __future__ import annotations

from courierpy.imap.commands import SELECTED, WRITES, command
from courierpy.model.flags import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.errors import StoreError


@command(b"EXPUNGE", when=SELECTED, flags=WRITES, rights="e")
def expunge(session: Session, args: Args) -> str:
    args.end()
    selected = session.need_selected()
    view = selected.view
    uids = [uid for uid, bits in zip(view.uids, view.flags, strict=True) if bits & DELETED]
    refused: list[StoreError] = []
    if uids:
        selected.folder.expunge(uids, refused)
    if refused:
        raise refused[0]                   # the others went, and are told
    return "EXPUNGE completed"
