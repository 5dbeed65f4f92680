"""EXPUNGE and UID EXPUNGE.  RFC 9051 6.4.3, 6.4.9; RFC 4315 2.1."""
from __future__ import annotations

from courierpy.imap.commands import SELECTED, WRITES, command
from courierpy.imap.commands.numbers import chosen
from courierpy.model.flags import DELETED
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"EXPUNGE", b"UID EXPUNGE", when=SELECTED, flags=WRITES)
def expunge(session: Session, args: Args) -> str:
    seqs = None
    if args.command == b"UID EXPUNGE":
        args.sp()
        seqs = chosen(session, args.numset(), True)
    args.end()

    selected = session.need_selected()
    if selected.readonly:
        raise No("Cannot expunge read-only mailbox.")
    view = selected.view
    if seqs is None:
        uids = [uid for uid, bits in zip(view.uids, view.flags, strict=True) if bits & DELETED]
    else:
        uids = [view.uids[seq - 1] for seq in seqs if view.bits(seq) & DELETED]
    if uids:
        selected.folder.expunge(uids)
    return "EXPUNGE completed"
