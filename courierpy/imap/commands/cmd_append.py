"""APPEND.  RFC 9051 6.3.12; several messages: RFC 3502."""
from __future__ import annotations

from courierpy.imap import appending, ext
from courierpy.imap.commands import ANY, CHANGES, Done, command
from courierpy.imap.names import named
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.appending import Assembly
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import LiteralAhead
    from courierpy.imap.session import Session


CAPABILITIES = (b"MULTIAPPEND",)


def spool(session: Session, ahead: LiteralAhead) -> Assembly | None:
    """Where the announced literal goes."""
    return appending.place(session, ahead, session.parse(ahead.frame))


@command(b"APPEND", when=ANY, flags=CHANGES, spool=spool, named=("i",))
def append(session: Session, args: Args) -> Done:
    call = appending.Call(session, args)
    if call.unfinished:
        raise Bad("APPEND needs a message as a literal.")
    if any(mail.empty for mail in call.mails):
        raise No(appending.EMPTY)
    target = appending.target(session, args.command, call.mailbox, call.mails)
    uidvalidity, uids = appending.append(session, target, call.mails)
    named(session, args, call.mailbox)
    return Done("APPEND Ok.", ext.tagged_code(b"APPEND", uidvalidity, uids))
