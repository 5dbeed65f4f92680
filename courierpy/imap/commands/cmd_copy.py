"""COPY and UID COPY.  RFC 9051 6.4.7."""
from __future__ import annotations

from functools import partial

from courierpy.imap import ext, permitted
from courierpy.imap.appending import brought
from courierpy.imap.commands import CHANGES, NUMBERS, SELECTED, USES_SEQ, Done, command
from courierpy.imap.commands.numbers import chosen, may_save
from courierpy.imap.grammar import lines
from courierpy.imap.refusals import describe
from courierpy.model.replies import No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.errors import StoreError
    from courierpy.maildir.mailbox import Mailbox


def named(session: Session, args: Args) -> tuple[list[int], Mailbox]:
    """The UIDs that COPY or MOVE names, and where they go.  Raises Bad, No [TRYCREATE]."""
    args.sp()
    numbers = args.messages()
    args.sp()
    name = args.mailbox()
    args.end()
    seqs = chosen(session, numbers, args.command.startswith(b"UID "))
    selected = session.need_selected()
    target = permitted.target(session, args.command, name, "Mailbox does not exist.")
    return selected.view.uids_of(seqs), target


def check_some(args: Args, uids: list[int], pairs: list[tuple[int, int]], refused: list[StoreError]) -> None:
    """Raises when none of the messages that were named could be copied or moved."""
    if refused and not pairs:
        raise refused[0]
    # RFC 3501 6.4.8: UIDs that are not there are no error
    if uids and not pairs and not args.command.startswith(b"UID "):
        raise No("The messages no longer exist.", b"EXPUNGEISSUED")


def copy(session: Session, args: Args) -> Done:
    uids, target = named(session, args)
    may_save(session, len(uids))
    refused: list[StoreError] = []
    folder = session.need_selected().folder
    uidvalidity, pairs = brought(session, target, (partial(folder.finder.open, uid) for uid in uids),
                                 len(uids), partial(folder.copy, uids, target, refused))
    session.entered(target, [uid for _, uid in pairs])
    copied = ext.find("on_copied", b"")
    if copied is not None and pairs:
        copied(session, [uid for uid, _ in pairs])
    check_some(args, uids, pairs, refused)
    if refused:
        # a tagged NO would say that nothing was copied (RFC 9051 6.4.7); COPYUID says what was
        log.err(f"{len(refused)} messages cannot be copied: {refused[0]}")
        session.write(lines.told(lines.NO, "Some of the messages cannot be copied.",
                                 describe(refused[0]).code))
    return Done("COPY completed.", ext.tagged_code(b"COPY", uidvalidity, pairs) if pairs else None)


command(b"COPY", when=SELECTED, flags=USES_SEQ | NUMBERS | CHANGES, rights="r", named=("i",))(copy)
command(b"UID COPY", when=SELECTED, flags=CHANGES, rights="r", named=("i",))(copy)
