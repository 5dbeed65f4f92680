"""What extensions tell of a mailbox when a command has been done on it: RFC 9051 6.3.9.7."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


def named(session: Session, args: Args, name: str) -> None:
    """``args``: of the command that has been done on the mailbox ``name``."""
    for tell in session.enabled.find("on_name"):
        session.write(tell(session, args, name))
