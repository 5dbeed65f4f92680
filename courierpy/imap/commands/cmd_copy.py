"""COPY and MOVE.  RFC 9051 6.4.7, 6.4.8; COPYUID: RFC 4315; MOVE: RFC 6851."""
from __future__ import annotations

from courierpy.imap.commands import SELECTED, USES_SEQ, WRITES, Done, command
from courierpy.imap.commands.numbers import chosen
from courierpy.imap.grammar.numset import compact
from courierpy.maildir.errors import FolderMissing
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


def copy(session: Session, args: Args) -> Done:
    args.sp()
    numbers = args.numset()
    args.sp()
    name = args.mailbox()
    args.end()
    moving = args.command.endswith(b"MOVE")
    seqs = chosen(session, numbers, args.command.startswith(b"UID "))

    selected = session.need_selected()
    if moving and selected.readonly:
        raise No("Current box is selected READ-ONLY.")
    source = selected.folder
    try:
        target = source if name == source.name else session.folders.open(name)
    except FolderMissing:
        raise No("Mailbox does not exist.", b"TRYCREATE") from None
    uids = [selected.view.uids[seq - 1] for seq in seqs]
    done = source.move(uids, target) if moving else source.copy(uids, target)
    uidvalidity, pairs = done
    word = "MOVE" if moving else "COPY"
    if not pairs:
        if uids:
            raise No("Some of the messages no longer exist.", b"EXPUNGEISSUED")
        return Done(f"{word} completed.")
    code = b"COPYUID %d %s %s" % (uidvalidity, compact(old for old, _ in pairs),
                                  compact(new for _, new in pairs))
    if not moving:
        return Done(f"{word} completed.", code)
    # RFC 6851 4.3: the UIDs come before the EXPUNGEs that they explain
    session.write(b"* OK [%s] Moved.\r\n" % code)
    return Done(f"{word} completed.")


command(b"COPY", when=SELECTED, flags=USES_SEQ)(copy)
command(b"UID COPY", when=SELECTED)(copy)
command(b"MOVE", b"UID MOVE", when=SELECTED, flags=WRITES)(copy)
