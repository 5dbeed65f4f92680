"""EXPUNGE and UID EXPUNGE.  RFC 9051 6.4.3, 6.4.9; RFC 4315 2.1."""
from __future__ import annotations

from courierpy.commands import SELECTED, WRITES, command
from courierpy.commands.numbers import chosen
from courierpy.errors import No
from courierpy.kinds import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args


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
