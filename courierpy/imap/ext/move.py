"""MOVE and UID MOVE.  RFC 6851: by rename; a message is never in both mailboxes, and never in none."""
from __future__ import annotations

from functools import partial

from courierpy.imap import ext
from courierpy.imap.appending import brought
from courierpy.imap.commands import NUMBERS, SELECTED, WRITES, Done, command
from courierpy.imap.commands.cmd_copy import check_some, named
from courierpy.imap.commands.numbers import highest
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.errors import StoreError


def move(session: Session, args: Args) -> Done:
    uids, target = named(session, args)
    view = session.need_selected().view
    seqs, limited = highest(session, [view.seq(uid) for uid in uids])
    uids = view.uids_of(seqs)
    refused: list[StoreError] = []
    folder = session.need_selected().folder
    uidvalidity, pairs = brought(session, target, (partial(folder.finder.open, uid) for uid in uids),
                                 len(uids), partial(folder.move, uids, target, refused))
    check_some(args, uids, pairs, refused)
    # on a full disk they may have no numbers yet
    code = ext.tagged_code(b"MOVE", uidvalidity, pairs) if pairs and all(new for _, new in pairs) else None
    if code is not None:
        # RFC 6851 4.3: the UIDs come before the EXPUNGEs that they explain
        session.write(lines.told(lines.OK, "Moved.", code))
    if refused:
        raise refused[0]                   # RFC 6851 3.3: the others are moved
    if limited is not None:
        return Done("MOVE completed in part.", limited)
    return Done("MOVE completed.", (lambda: ext.tagged_code(b"EXPUNGE", session)) if pairs else None)


command(b"MOVE", when=SELECTED, flags=NUMBERS | WRITES, rights="rte", named=("i",))(move)
command(b"UID MOVE", when=SELECTED, flags=WRITES, rights="rte", named=("i",))(move)

EXTENSION = Extension(b"MOVE")
