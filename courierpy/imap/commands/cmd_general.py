"""CAPABILITY, NOOP, CHECK, LOGOUT, LOGIN too late.  RFC 9051 6.1, 6.2.3; CHECK: RFC 3501 6.4.1."""
from __future__ import annotations

from courierpy.imap.commands import ANY, LEAVES_FOLDER, SELECTED, command
from courierpy.imap.grammar import lines
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"CAPABILITY", when=ANY)
def capability_command(session: Session, args: Args) -> str:
    args.end()
    session.write(lines.data(b"CAPABILITY", *session.capabilities()))
    return "CAPABILITY completed"


@command(b"LOGIN", when=ANY)
def login(session: Session, args: Args) -> str:
    """A client that cannot be told not to log in is content with an OK after PREAUTH (IMAP_PREAUTH_LOGIN).

    Its words are not looked at: who started us has decided who it is.
    """
    args.sp()
    args.astring()
    args.sp()
    args.astring()
    args.end()
    if session.settings.text("IMAPLOGINTAG") or not session.settings.flag("IMAP_PREAUTH_LOGIN"):
        raise Bad("Already logged in.")
    return "LOGIN Ok."


@command(b"NOOP", when=ANY)
def noop(session: Session, args: Args) -> str:
    args.end()                  # what changed is told after every command
    return "NOOP completed"


@command(b"CHECK", when=SELECTED)
def check(session: Session, args: Args) -> str:
    args.end()
    return "CHECK completed"


@command(b"LOGOUT", when=ANY, flags=LEAVES_FOLDER)
def logout(session: Session, args: Args) -> str:
    args.end()
    session.write(lines.told(lines.BYE, "Courier-IMAP server shutting down"))
    return "LOGOUT completed"
