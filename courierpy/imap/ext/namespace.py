"""NAMESPACE.  RFC 2342.  Courier's namespaces: personal ``INBOX.``, the rest shared."""
from __future__ import annotations

from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"NAMESPACE", when=ANY)
def namespace(session: Session, args: Args) -> str:
    args.end()
    session.write(b'* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))\r\n')
    return "NAMESPACE completed."


EXTENSION = Extension(b"NAMESPACE")
