"""REPLACE and UID REPLACE.  RFC 8508: a message is appended, and another one goes, as one action.

The new one is there before the old one goes: a crash between leaves both, never none.  Where the old
one cannot go the new one is taken back.
"""
from __future__ import annotations

from courierpy.imap import appending, counted, ext
from courierpy.imap.commands import NUMBERS, SELECTED, WRITES, Done, command
from courierpy.imap.commands.numbers import chosen
from courierpy.imap.disposing import disposal
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.numset import NumSet
from courierpy.imap.names import named
from courierpy.maildir.errors import StoreError, Vanished
from courierpy.model.replies import Bad, No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.appending import Assembly
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import LiteralAhead
    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Mailbox


def _replaced(session: Session, args: Args) -> int:
    """The UID of the message that goes.  Raises Bad, or No where it is not there."""
    args.sp()
    numbers = args.messages()
    if numbers.saved or len(numbers.ranges) != 1 or numbers.ranges[0][0] != numbers.ranges[0][1]:
        raise Bad("REPLACE names one message.")
    by_uid = args.command.startswith(b"UID ")
    found = chosen(session, NumSet(numbers.ranges), by_uid)
    if not found:
        raise No("There is no such message.")
    return session.need_selected().view.uids[found[0] - 1]


def spool(session: Session, ahead: LiteralAhead) -> Assembly | None:
    """Where the announced literal goes."""
    args = session.parse(ahead.frame)
    old = _replaced(session, args)
    return appending.place(session, ahead, args, old)


def replace(session: Session, args: Args) -> Done:
    old = _replaced(session, args)
    call = appending.Call(session, args)
    if call.unfinished or len(call.mails) != 1:
        raise Bad("REPLACE needs one message.")
    if call.mails[0].empty:
        raise No(appending.EMPTY)
    source, target = session.need_selected().folder, appending.target(session, args.command, call.mailbox)
    if counted.messages(session, source.name).find(old) < 0:
        raise Vanished(f"{source.path}: UID {old}")
    uidvalidity, uids = appending.append(session, target, call.mails, old)
    _remove(session, source, old, target, uids)
    code = ext.tagged_code(b"APPEND", uidvalidity, uids)
    if code is not None:
        # RFC 8508 4.3: before the EXPUNGE that it explains
        session.write(lines.told(lines.OK, "Replacement Message ready", code))
    named(session, args, call.mailbox)
    session.tell(expunges=False)       # RFC 8508 3.2: EXISTS before EXPUNGE
    return Done("REPLACE completed.", lambda: ext.tagged_code(b"EXPUNGE", session))


def _remove(session: Session, source: Mailbox, old: int, target: Mailbox, uids: list[int]) -> None:
    """The message ``old`` goes.  Raises a store error where it does not; then what was appended has gone."""
    refused: list[StoreError] = []
    try:
        if not source.remove([old], refused, disposal(session, 1)) and not refused:
            refused.append(Vanished(f"{source.path}: UID {old}"))
    except StoreError as why:
        refused.append(why)
    if refused:
        try:
            target.scan()
            target.remove(uids)
        except StoreError as why:
            log.err(f"{why}: the message that was to replace another one stays beside it")
        raise refused[0]


command(b"REPLACE", when=SELECTED, flags=NUMBERS | WRITES, rights="te", spool=spool, named=("i",))(replace)
command(b"UID REPLACE", when=SELECTED, flags=WRITES, rights="te", spool=spool, named=("i",))(replace)

EXTENSION = Extension(b"REPLACE")
